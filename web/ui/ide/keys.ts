/** The page's own keys. In a terminal all but one are the program's. */

import { onCleanup, onMount } from "solid-js";
import { mayEdit } from "../../core/model/state.ts";
import type { Workbench } from "./workbench.ts";

/** What the help shows. */
export const KEYS: readonly (readonly [keys: string, what: string])[] = [
  ["Ctrl+S", "save all files"],
  ["Ctrl+Enter", "save and run"],
  ["Ctrl+P", "open a file by a few of its letters"],
  ["Ctrl+`", "go between editor and terminal"],
  ["Ctrl+F", "search in the file"],
  ["Esc, then Tab", "leave the editor: Tab by itself indents"],
  ["Ctrl+Shift+F", "search in the terminal’s output"],
  ["Ctrl+Shift+C or V", "copy and paste in a terminal"],
  ["F2, Delete, Shift+F10", "rename, delete and more, in the file tree"],
  ["Delete", "close the tab that has the focus"],
];

/** Listens as long as the page is shown. */
export function useKeys(bench: Workbench): void {
  const onKey = (event: KeyboardEvent): void => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || bench.state.dialog !== null) return;
    const inTerminal = event.target instanceof Element && event.target.closest(".terminal-host") !== null;
    const act = actionFor(bench, event, inTerminal);
    if (act === null) return;
    event.preventDefault();
    event.stopPropagation();
    // Held, they would start a program many times a second.
    if (!event.repeat) act();
  };
  // Before the editor sees them: it has meanings of its own for some.
  onMount(() => window.addEventListener("keydown", onKey, { capture: true }));
  onCleanup(() => window.removeEventListener("keydown", onKey, { capture: true }));
}

function actionFor(bench: Workbench, event: KeyboardEvent, inTerminal: boolean): (() => void) | null {
  if (event.code === "Backquote") return () => toggleFocus(bench, inTerminal);
  if (inTerminal) return null;
  switch (event.key.toLowerCase()) {
    case "s":
      return () => void bench.files.saveAll();
    case "p":
      return () => bench.context.dispatch({ type: "dialog", dialog: { kind: "open" } });
    case "enter":
      return mayEdit(bench.state) ? () => void bench.saveAndRun() : null;
    default:
      return null;
  }
}

function toggleFocus(bench: Workbench, inTerminal: boolean): void {
  const { activeTerminal } = bench.state;
  if (inTerminal) bench.documents.focus();
  else if (activeTerminal !== null) bench.runs.terminal(activeTerminal)?.focus();
  else void bench.runs.newTerminal();
}
