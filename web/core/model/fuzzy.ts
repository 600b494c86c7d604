/** Finds paths by a few of their letters, as Ctrl-P does. */

import { basename } from "../paths.ts";

export interface Match {
  readonly path: string;
  /** Where in the path the letters were found. */
  readonly at: readonly number[];
}

/** The best `limit` of `paths` that hold all letters of `query` in their order, best first. */
export function findPaths(paths: Iterable<string>, query: string, limit: number): Match[] {
  const letters = query.toLowerCase().replaceAll(/\s+/g, "");
  const found: (Match & { score: number })[] = [];
  for (const path of paths) {
    const at = locate(path, letters);
    if (at !== null) found.push({ path, at, score: score(path, at) });
  }
  found.sort((a, b) => b.score - a.score || a.path.length - b.path.length || (a.path < b.path ? -1 : 1));
  return found.slice(0, limit).map(({ path, at }) => ({ path, at }));
}

/** The letters' places, searched for in the name first: people type names more often than folders. */
function locate(path: string, letters: string): number[] | null {
  const lower = path.toLowerCase();
  // A character whose lower case is longer would shift every place; such paths are matched as they are.
  const text = lower.length === path.length ? lower : path;
  return scan(text, letters, path.length - basename(path).length) ?? scan(text, letters, 0);
}

function scan(text: string, letters: string, from: number): number[] | null {
  const whole = text.indexOf(letters, from);
  if (whole >= 0) return Array.from(letters, (_, at) => whole + at);
  const at: number[] = [];
  let next = from;
  for (const letter of letters) {
    const found = text.indexOf(letter, next);
    if (found < 0) return null;
    at.push(found);
    next = found + letter.length;
  }
  return at;
}

/** Letters that follow each other, begin a word or lie in the name count more. */
function score(path: string, at: readonly number[]): number {
  const name = path.length - basename(path).length;
  let sum = 0;
  at.forEach((place, index) => {
    if (place >= name) sum += 2;
    if (index > 0 && at[index - 1] === place - 1) sum += 5;
    if (place === name || /[/_.\- ]/.test(path[place - 1] ?? "/")) sum += 4;
  });
  return sum;
}
