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

/** Whether a template's run command needs an open file. */
export function needsFile(runCommand: string): boolean {
  return runCommand.includes("{file}");
}

/** The command that runs `path` by a template's `run_command`, or null when it needs a file and there is none. */
export function runCommandFor(runCommand: string, path: string | null): string | null {
  if (!needsFile(runCommand)) return runCommand;
  return path === null ? null : runCommand.replaceAll("{file}", () => fileWord(path));
}

/** A command on one line, for tabs and lists. */
export function commandTitle(command: string | string[]): string {
  const text = typeof command === "string" ? command : command.map(shellQuote).join(" ");
  return text.replaceAll(/\s+/g, " ").trim();
}
