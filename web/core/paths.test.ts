import { expect, it } from "vitest";
import * as paths from "./paths.ts";

it("accepts normal paths and names what is wrong with others", () => {
  expect(paths.pathError("/src/main.py")).toBeNull();
  expect(paths.pathError(`/${"é".repeat(127)}`)).toBeNull();
  for (const bad of [
    "",
    "a",
    "/",
    "/a/",
    "/a//b",
    "/a/../b",
    "/.",
    "/a\0",
    `/${"é".repeat(128)}`,
    "/ab".repeat(1400),
  ]) {
    expect(paths.pathError(bad), bad).not.toBeNull();
  }
});

it("takes paths apart and puts them together", () => {
  expect(paths.parent("/a")).toBe("/");
  expect(paths.parent("/a/b")).toBe("/a");
  expect(paths.basename("/a/b.txt")).toBe("b.txt");
  expect(paths.extension("/a/b.TXT")).toBe("txt");
  expect(paths.extension("/.env")).toBe("");
  expect(paths.resolve("/src", " x.py ")).toBe("/src/x.py");
  expect(paths.resolve("/src", "/x.py")).toBe("/x.py");
  expect(paths.isWithin("/ab", "/a")).toBe(false);
  expect(paths.rebase("/a/b/c", "/a", "/z")).toBe("/z/b/c");
  expect(paths.rebase("/ab", "/a", "/z")).toBe("/ab");
  expect(paths.utf8Length("aé漢😀")).toBe(10);
});

it("finds the generated folder that a path lies in", () => {
  const folders = ["node_modules", "target"];
  expect(paths.generatedPart("web/node_modules/x/index.js", folders)).toBe("web/node_modules");
  expect(paths.generatedPart("target", folders)).toBe("target");
  expect(paths.generatedPart("src/targets/a", folders)).toBeNull();
});
