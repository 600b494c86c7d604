/** What a person is told of the sandbox, and what can be done about it. */

import type { Sandbox, SandboxStatus } from "../api-types.ts";
import type { IdeState, SandboxState } from "./state.ts";

/** The reasons that servers give, in words. Others are shown as they are. */
const REASONS: Readonly<Record<string, string>> = {
  ended: "it was stopped",
  idle: "nothing happened in it for a while",
  max_lifetime: "it reached the longest time a sandbox may live",
  node_stopped: "the server was stopped",
  sandbox_lost: "the machine it ran on lost it",
  start_failed: "it could not be started",
  out_of_memory: "it ran out of memory",
  disk_full: "its disk is full",
  workspace_deleted: "its workspace was deleted",
};

/** What stands above the editor while the sandbox can't be used, with the one thing that helps. */
export interface SandboxNote {
  readonly tone: "info" | "error";
  readonly text: string;
  readonly action: "resume" | "start" | null;
}

export function sandboxState(sandbox: Sandbox): SandboxState {
  return { id: sandbox.id, status: sandbox.status, reason: sandbox.reason };
}

export function hasEnded(status: SandboxStatus): boolean {
  return status === "terminated" || status === "failed";
}

export function reasonText(reason: string): string {
  return REASONS[reason] ?? reason.replaceAll("_", " ");
}

export function sandboxNote(sandbox: SandboxState | null): SandboxNote | null {
  if (sandbox === null) return null;
  const because = sandbox.reason === null ? "" : `: ${reasonText(sandbox.reason)}`;
  switch (sandbox.status) {
    case "suspending":
      return { tone: "info", text: `The sandbox is being saved${because}.`, action: null };
    case "suspended":
      return { tone: "info", text: "The sandbox is suspended. Its programs stand still.", action: "resume" };
    case "terminated":
      return { tone: "info", text: `The sandbox has ended${because}. Your files are kept.`, action: "start" };
    case "failed":
      return { tone: "error", text: `The sandbox failed${because}. Your files are kept.`, action: "start" };
    case "provisioning":
    case "warm":
    case "assigned":
    case "running":
    case "idle":
      return null;
  }
}

/** The sandbox in two words, for the line above everything. */
export function sandboxWord(state: IdeState): string {
  switch (state.connection) {
    case "off":
      return state.sandbox === null || hasEnded(state.sandbox.status) ? "no sandbox" : state.sandbox.status;
    case "connecting":
      return "connecting…";
    case "reconnecting":
      return "reconnecting…";
    case "live":
      return state.sandbox?.status ?? "connected";
  }
}
