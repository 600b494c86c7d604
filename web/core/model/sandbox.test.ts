import { expect, it } from "vitest";
import { sandboxNote, sandboxWord } from "./sandbox.ts";
import { INITIAL, type SandboxState } from "./state.ts";

const sandbox = (status: SandboxState["status"], reason: string | null = null): SandboxState => ({
  id: "s",
  status,
  reason,
});

it("says why a sandbox can't be used and what helps", () => {
  expect(sandboxNote(sandbox("running"))).toBeNull();
  expect(sandboxNote(sandbox("suspended"))?.action).toBe("resume");
  expect(sandboxNote(sandbox("terminated", "idle"))?.text).toContain("nothing happened in it for a while");
  expect(sandboxNote(sandbox("failed", "some_new_reason"))).toMatchObject({ tone: "error", action: "start" });
  expect(sandboxNote(sandbox("failed", "some_new_reason"))?.text).toContain("some new reason");
});

it("names the connection before the sandbox", () => {
  expect(sandboxWord({ ...INITIAL, sandbox: sandbox("idle"), connection: "live" })).toBe("idle");
  expect(sandboxWord({ ...INITIAL, sandbox: sandbox("idle"), connection: "reconnecting" })).toBe("reconnecting…");
  expect(sandboxWord({ ...INITIAL, sandbox: sandbox("terminated"), connection: "off" })).toBe("no sandbox");
});
