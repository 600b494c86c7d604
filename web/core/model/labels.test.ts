import { expect, it } from "vitest";
import { captionFrom, terminalLabels } from "./labels.ts";
import { type IdeState, INITIAL, type ProcessInfo } from "./state.ts";

function program(id: string, command: string | string[], title: string): ProcessInfo {
  const ended = { exitCode: null, signal: null, reason: null };
  return { id, sandboxId: "s", command, title, pty: true, status: "running", ...ended, complete: true };
}

it("tells terminals of one name apart, and uses what programs call them", () => {
  const programs = [
    program("a", ["bash", "-l"], "bash -l"),
    program("b", ["bash", "-l"], "bash -l"),
    program("c", "x", "x"),
  ];
  const state: IdeState = {
    ...INITIAL,
    processes: new Map(programs.map((each) => [each.id, each])),
    terminals: ["a", "b", "c"],
    captions: new Map([["c", "vim notes"]]),
  };
  expect([...terminalLabels(state).values()]).toEqual(["bash", "bash (2)", "vim notes"]);
});

it("shows a caption only on one bounded line", () => {
  expect(captionFrom("a\u0007b\u202e\n c")).toBe("a b c");
  expect(captionFrom("x".repeat(500)).length).toBe(80);
});
