/** What the keys do in the file tree, as trees do everywhere. */

import { parent } from "../paths.ts";
import type { TreeRow } from "./tree.ts";

export type TreeAct =
  | { kind: "select"; at: number }
  | { kind: "expand"; open: boolean }
  | { kind: "activate" | "rename" | "delete" | "menu" };

/** What `key` means with row `at` selected (-1 for none), or null when the tree has no use for it. */
export function treeKey(rows: readonly TreeRow[], at: number, key: string, shift: boolean): TreeAct | null {
  const row = rows[at];
  switch (key) {
    case "ArrowDown":
      return { kind: "select", at: Math.min(at + 1, rows.length - 1) };
    case "ArrowUp":
      return { kind: "select", at: Math.max(0, at - 1) };
    case "Home":
      return { kind: "select", at: 0 };
    case "End":
      return { kind: "select", at: rows.length - 1 };
    case "ArrowRight":
      if (row?.file.is_directory !== true) return null;
      return row.expanded ? { kind: "select", at: Math.min(at + 1, rows.length - 1) } : { kind: "expand", open: true };
    case "ArrowLeft": {
      if (row?.expanded === true) return { kind: "expand", open: false };
      const above = row === undefined ? -1 : rows.findIndex((each) => each.file.path === parent(row.file.path));
      return above < 0 ? null : { kind: "select", at: above };
    }
    case "Enter":
    case " ":
      return { kind: "activate" };
    case "F2":
      return { kind: "rename" };
    case "Delete":
      return { kind: "delete" };
    case "ContextMenu":
      return { kind: "menu" };
    case "F10":
      return shift ? { kind: "menu" } : null;
    default:
      return byLetter(rows, at, key);
  }
}

/** A letter goes to the next name that begins with it. */
function byLetter(rows: readonly TreeRow[], at: number, key: string): TreeAct | null {
  if ([...key].length !== 1) return null;
  const letter = key.toLowerCase();
  for (let step = 1; step <= rows.length; step += 1) {
    const place = (at + step + rows.length) % rows.length;
    if (rows[place]?.name.toLowerCase().startsWith(letter)) return { kind: "select", at: place };
  }
  return null;
}
