import { expect, it } from "vitest";
import type { FileEntry } from "../api-types.ts";
import { basename } from "../paths.ts";
import type { TreeRow } from "./tree.ts";
import { treeKey } from "./tree-keys.ts";

function row(path: string, directory = false, expanded = false): TreeRow {
  const file = { path, is_directory: directory } as FileEntry;
  return { file, name: basename(path), level: path.split("/").length - 1, place: 1, siblings: 1, expanded };
}

const ROWS = [row("/docs", true), row("/src", true, true), row("/src/main.py"), row("/setup.py")];
const key = (name: string, at: number) => treeKey(ROWS, at, name, false);

it("moves up, down and to the ends", () => {
  expect(key("ArrowDown", -1)).toEqual({ kind: "select", at: 0 });
  expect(key("ArrowDown", 3)).toEqual({ kind: "select", at: 3 });
  expect(key("ArrowUp", 0)).toEqual({ kind: "select", at: 0 });
  expect(key("End", 0)).toEqual({ kind: "select", at: 3 });
});

it("opens and closes directories, and goes to the one above", () => {
  expect(key("ArrowRight", 0)).toEqual({ kind: "expand", open: true });
  expect(key("ArrowRight", 1)).toEqual({ kind: "select", at: 2 });
  expect(key("ArrowRight", 2)).toBeNull();
  expect(key("ArrowLeft", 1)).toEqual({ kind: "expand", open: false });
  expect(key("ArrowLeft", 2)).toEqual({ kind: "select", at: 1 });
});

it("goes round to names that begin with a letter", () => {
  expect(key("s", 1)).toEqual({ kind: "select", at: 3 });
  expect(key("S", 3)).toEqual({ kind: "select", at: 1 });
  expect(key("x", 0)).toBeNull();
  expect(key("Tab", 0)).toBeNull();
});

it("opens the menu as the system does", () => {
  expect(treeKey(ROWS, 0, "F10", true)).toEqual({ kind: "menu" });
  expect(treeKey(ROWS, 0, "F10", false)).toBeNull();
});
