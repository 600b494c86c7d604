/** Programs and their terminals in the state. */

import type { Process, ProcessStatus } from "../api-types.ts";
import { commandTitle } from "../command.ts";
import type { Action, IdeState, ProcessInfo } from "./state.ts";

type ProcessAction = Extract<
  Action,
  {
    type:
      | "process_list"
      | "process_seen"
      | "process_status"
      | "terminal_opened"
      | "terminal_active"
      | "terminal_closed"
      | "terminal_caption";
  }
>;

export function reduceProcesses(state: IdeState, action: ProcessAction): IdeState {
  switch (action.type) {
    case "process_list": {
      const listed = action.processes.map(infoOf).sort(byStart(action.processes));
      const processes = new Map(listed.map((process) => [process.id, newer(state.processes.get(process.id), process)]));
      // Started after the list was made: the stream knew it first.
      for (const [id, process] of state.processes) if (!processes.has(id)) processes.set(id, process);
      return { ...state, processes };
    }
    case "process_seen": {
      const processes = new Map(state.processes);
      processes.set(action.process.id, newer(processes.get(action.process.id), action.process));
      return { ...state, processes };
    }
    case "process_status": {
      const { processId, sandboxId, status, exitCode, signal, reason } = action;
      const before = state.processes.get(processId);
      const process = before ?? { id: processId, sandboxId, command: null, title: "…", pty: true, complete: false };
      const processes = new Map(state.processes);
      processes.set(processId, { ...process, status, exitCode, signal, reason });
      const unknown = before === undefined || !before.complete;
      return { ...state, processes, processesWanted: state.processesWanted + (unknown ? 1 : 0) };
    }
    case "terminal_opened": {
      const open = state.terminals.includes(action.processId);
      const terminals = open ? state.terminals : [...state.terminals, action.processId];
      const activeTerminal = action.activate || state.activeTerminal === null ? action.processId : state.activeTerminal;
      return { ...state, terminals, activeTerminal };
    }
    case "terminal_active":
      return { ...state, activeTerminal: action.processId };
    case "terminal_caption": {
      const captions = new Map(state.captions);
      if (action.caption === "") captions.delete(action.processId);
      else captions.set(action.processId, action.caption);
      return { ...state, captions };
    }
    case "terminal_closed": {
      const at = state.terminals.indexOf(action.processId);
      const terminals = state.terminals.filter((id) => id !== action.processId);
      if (state.activeTerminal !== action.processId) return { ...state, terminals };
      return { ...state, terminals, activeTerminal: terminals[Math.min(at, terminals.length - 1)] ?? null };
    }
  }
}

const RANK: Readonly<Record<ProcessStatus, number>> = { pending: 0, running: 1, completed: 2, failed: 2, cancelled: 2 };

/** What a list of programs says of one. */
export function infoOf(process: Process): ProcessInfo {
  return {
    id: process.id,
    sandboxId: process.sandbox_id,
    command: process.command,
    title: commandTitle(process.command),
    pty: process.pty,
    status: process.status,
    exitCode: process.exit_code,
    signal: process.signal,
    reason: process.reason,
    complete: true,
  };
}

/** An answer that comes late must not turn a program's status back. */
function newer(before: ProcessInfo | undefined, after: ProcessInfo): ProcessInfo {
  if (before === undefined || RANK[before.status] <= RANK[after.status]) return after;
  const { status, exitCode, signal, reason } = before;
  return { ...after, status, exitCode, signal, reason };
}

function byStart(processes: readonly Process[]): (a: ProcessInfo, b: ProcessInfo) => number {
  const started = new Map(processes.map((process) => [process.id, process.started_at ?? "\uffff"]));
  return (a, b) => (started.get(a.id) ?? "").localeCompare(started.get(b.id) ?? "");
}

/** How a program stands, in a few words. */
export function statusText(process: ProcessInfo): string {
  switch (process.status) {
    case "pending":
      return "starting";
    case "running":
      return "running";
    case "completed":
      return "done";
    case "cancelled":
      return "stopped";
    case "failed": {
      const cause = process.reason?.replaceAll("_", " ");
      if (cause !== undefined) return cause;
      return process.signal === null ? `exit ${process.exitCode ?? "?"}` : `signal ${process.signal}`;
    }
  }
}
