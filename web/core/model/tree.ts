/** The file tree as rows, made from the flat list. */

import type { FileEntry } from "../api-types.ts";
import { basename, parent } from "../paths.ts";

/** `i9` before `i10`. Made once: making it costs more than a thousand comparisons. */
const BY_NAME = new Intl.Collator(undefined, { numeric: true });

export interface TreeRow {
  readonly file: FileEntry;
  readonly name: string;
  /** 1 for what lies in the root. */
  readonly level: number;
  /** Its place among those of its directory, from 1, and how many they are: most of them may not be drawn. */
  readonly place: number;
  readonly siblings: number;
  readonly expanded: boolean;
}

/** The visible rows from the top down: in each directory first directories, then files, each by name. */
export function treeRows(files: Iterable<FileEntry>, expanded: ReadonlySet<string>): TreeRow[] {
  const children = new Map<string, FileEntry[]>();
  for (const file of files) {
    const directory = parent(file.path);
    const list = children.get(directory);
    if (list === undefined) children.set(directory, [file]);
    else list.push(file);
  }
  const rows: TreeRow[] = [];
  const visit = (directory: string, level: number): void => {
    const inside = (children.get(directory) ?? []).sort(byKindAndName);
    inside.forEach((file, at) => {
      const open = file.is_directory && expanded.has(file.path);
      rows.push({
        file,
        name: basename(file.path),
        level,
        place: at + 1,
        siblings: inside.length,
        expanded: open,
      });
      if (open) visit(file.path, level + 1);
    });
  };
  visit("/", 1);
  return rows;
}

function byKindAndName(a: FileEntry, b: FileEntry): number {
  if (a.is_directory !== b.is_directory) return a.is_directory ? -1 : 1;
  return BY_NAME.compare(a.path, b.path);
}

/** The directories above `path`, nearest last. */
export function ancestors(path: string): string[] {
  const found: string[] = [];
  for (let at = parent(path); at !== "/"; at = parent(at)) found.unshift(at);
  return found;
}
