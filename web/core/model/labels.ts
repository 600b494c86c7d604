/** What the terminals' tabs say: short, and no two the same. */

import { commandTitle } from "../command.ts";
import type { IdeState } from "./state.ts";

/** A program's own name for its terminal is cut to so many characters. */
export const CAPTION_CHARACTERS = 80;

export function terminalLabels(state: IdeState): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  const taken = new Map<string, number>();
  for (const id of state.terminals) {
    const process = state.processes.get(id);
    const title = state.captions.get(id) ?? shortTitle(process?.command ?? null, process?.title ?? "…");
    const before = taken.get(title) ?? 0;
    taken.set(title, before + 1);
    labels.set(id, before === 0 ? title : `${title} (${before + 1})`);
  }
  return labels;
}

/** A login shell is called by its name; everything else by its command. */
function shortTitle(command: string | string[] | null, title: string): string {
  if (Array.isArray(command) && command.length === 2 && command[1] === "-l") return commandTitle(command.slice(0, 1));
  return title;
}

/** A caption as a program sent it, made fit to be shown: one line, bounded, without control characters. */
export function captionFrom(sent: string): string {
  return sent
    .replaceAll(/[\p{Cc}\p{Cf}]/gu, " ")
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, CAPTION_CHARACTERS);
}
