/** Commands: the Run button's, and how a command is shown. */

import { relative } from "./paths.ts";

/** Quotes one word for `sh`, only where it needs it. */
export function shellQuote(word: string): string {
  return /^[A-Za-z0-9_./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A relative path that starts with a dash would be read as an option. */
function fileWord(path: string): string {
  const word = relative(path);
  return shellQuote(word.startsWith("-") ? `./${word}` : word);
}

/** What the interpreters of our templates run, by their files' extensions; a file without one may be a script too. */
const RUNS: Readonly<Record<string, readonly string[]>> = {
  python3: ["py", "pyw"],
  node: ["js", "mjs", "cjs", "ts", "mts", "cts"],
  go: ["go"],
  sh: ["sh", "bash"],
};

/** The extension of a file that `runCommand` is for, or null where it takes any. */
export function wantedExtension(runCommand: string): string | null {
  return RUNS[runCommand.split(" ", 1)[0] ?? ""]?.[0] ?? null;
}

function isRunnable(runCommand: string, path: string): boolean {
  const extension = /[^/]\.([^./]+)$/.exec(path)?.[1]?.toLowerCase();
  const known = RUNS[runCommand.split(" ", 1)[0] ?? ""];
  return known === undefined || extension === undefined || known.includes(extension);
}

/** Whether a template's run command needs an open file. */
export function needsFile(runCommand: string): boolean {
  return runCommand.includes("{file}");
}

/** The command that runs `path` by a template's `run_command`, or null when it needs a file and this is none for it. */
export function runCommandFor(runCommand: string, path: string | null): string | null {
  if (!needsFile(runCommand)) return runCommand;
  return path === null || !isRunnable(runCommand, path) ? null : runCommand.replaceAll("{file}", () => fileWord(path));
}

/** A command on one line, for tabs and lists. */
export function commandTitle(command: string | string[]): string {
  const text = typeof command === "string" ? command : command.map(shellQuote).join(" ");
  return text.replaceAll(/\s+/g, " ").trim();
}
