import { expect, it } from "vitest";
import { findPaths } from "./fuzzy.ts";

const PATHS = ["/src/main.py", "/src/domain.py", "/docs/manual.md", "/README.md", "/src/my_app/init.py"];
const found = (query: string) => findPaths(PATHS, query, 10).map((match) => match.path);

it("prefers names, and letters that follow each other", () => {
  expect(found("main").slice(0, 2)).toEqual(["/src/main.py", "/src/domain.py"]);
  expect(found("readme")[0]).toBe("/README.md");
  expect(found("s/m")).toContain("/src/main.py");
});

it("finds letters that lie apart, at the beginnings of words first", () => {
  expect(found("mai")[0]).toBe("/src/main.py");
  expect(found("myin")[0]).toBe("/src/my_app/init.py");
  expect(found("zzz")).toEqual([]);
});

it("lists everything for an empty query, and no more than asked", () => {
  expect(findPaths(PATHS, "", 2).length).toBe(2);
  expect(findPaths(["/ab"], "b", 1)[0]?.at).toEqual([2]);
});
