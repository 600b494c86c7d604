/** What the page of one workspace knows. Plain data; only the reducer makes new ones. */

import type { FileEntry, Process, ProcessStatus, Role, SandboxStatus, Template, Workspace } from "../api-types.ts";
import type { Connection } from "../stream/events.ts";

/** An open file. Its text is the editor's; here is what everyone else must know of it. */
export interface Tab {
  readonly fileId: string;
  readonly path: string;
  /** The version the text was loaded or saved as. */
  readonly etag: string;
  readonly dirty: boolean;
  readonly saving: boolean;
  /** Somebody else changed the file while it was dirty here, or removed it. */
  readonly stale: "no" | "changed" | "removed";
  /** Not text, or too large for the editor. */
  readonly unreadable: string | null;
}

/** A program as the lists show it. */
export interface ProcessInfo {
  readonly id: string;
  readonly sandboxId: string;
  /** What was asked for; null until the server has told. */
  readonly command: Process["command"] | null;
  readonly title: string;
  readonly pty: boolean;
  readonly status: ProcessStatus;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly reason: string | null;
  /** What the server has not yet told (a process known from the stream alone). */
  readonly complete: boolean;
}

export interface Notice {
  readonly id: number;
  readonly tone: "info" | "error";
  readonly text: string;
  /** Names the refused request in the server's log. */
  readonly requestId: string | null;
}

/** An upload on its way. */
export interface Transfer {
  readonly id: number;
  readonly label: string;
  readonly sent: number;
  readonly total: number;
}

/** The workspace's sandbox: the running one, or the one that ended last. */
export interface SandboxState {
  readonly id: string;
  readonly status: SandboxStatus;
  readonly reason: string | null;
}

/** A question the page asks; one at a time. */
export type Dialog =
  | { readonly kind: "create"; readonly directory: string; readonly folder: boolean }
  | { readonly kind: "move"; readonly file: FileEntry }
  | { readonly kind: "delete"; readonly file: FileEntry }
  | { readonly kind: "conflict"; readonly fileId: string; readonly theirs: string | null; readonly etag: string | null }
  | { readonly kind: "close"; readonly fileId: string }
  | { readonly kind: "overwrite"; readonly names: readonly string[] }
  | { readonly kind: "share" }
  | { readonly kind: "sandbox" }
  | { readonly kind: "keys" }
  | { readonly kind: "open" }
  /** Texts that are not saved would be lost by going to `to`. */
  | { readonly kind: "leave"; readonly to: string };

/** Whether the workspace is there at all. */
export type Presence =
  | { readonly kind: "loading" }
  | { readonly kind: "open"; readonly workspace: Workspace }
  | { readonly kind: "gone"; readonly why: string };

export interface IdeState {
  readonly presence: Presence;
  readonly template: Template | null;
  readonly files: ReadonlyMap<string, FileEntry>;
  /** Rises whenever the list of files must be asked for again. */
  readonly filesWanted: number;
  readonly expanded: ReadonlySet<string>;
  readonly selected: string | null;
  readonly tabs: readonly Tab[];
  readonly activeFile: string | null;
  /** Newest last. */
  readonly processes: ReadonlyMap<string, ProcessInfo>;
  /** Rises whenever the list of processes must be asked for again. */
  readonly processesWanted: number;
  readonly terminals: readonly string[];
  readonly activeTerminal: string | null;
  /** What programs call their terminals. */
  readonly captions: ReadonlyMap<string, string>;
  readonly connection: Connection;
  readonly sandbox: SandboxState | null;
  readonly dialog: Dialog | null;
  readonly notices: readonly Notice[];
  readonly nextNotice: number;
  readonly transfers: readonly Transfer[];
}

export const INITIAL: IdeState = {
  presence: { kind: "loading" },
  template: null,
  files: new Map(),
  filesWanted: 0,
  expanded: new Set(),
  selected: null,
  tabs: [],
  activeFile: null,
  processes: new Map(),
  processesWanted: 0,
  terminals: [],
  activeTerminal: null,
  captions: new Map(),
  connection: "off",
  sandbox: null,
  dialog: null,
  notices: [],
  nextNotice: 1,
  transfers: [],
};

export type Action =
  | { type: "workspace"; workspace: Workspace }
  | { type: "role"; role: Role }
  | { type: "gone"; why: string }
  | { type: "template"; template: Template | null }
  | { type: "file_list"; files: readonly FileEntry[] }
  | { type: "files_written"; files: readonly FileEntry[] }
  | { type: "file_removed"; path: string }
  | {
      type: "files_changed";
      changed: readonly { path: string; id: string; etag: string }[];
      removed: readonly string[];
    }
  | { type: "expand"; path: string; open: boolean }
  | { type: "select"; path: string | null }
  | { type: "tab_opened"; file: FileEntry; unreadable: string | null; activate: boolean }
  | { type: "tab_active"; fileId: string }
  | { type: "tab_edited"; fileId: string; dirty: boolean }
  | { type: "tab_saving"; fileId: string; saving: boolean }
  | { type: "tab_loaded"; fileId: string; etag: string; dirty: boolean; unreadable?: string }
  /** Another file stands where the one of a tab was removed. */
  | { type: "tab_adopted"; fileId: string; by: string }
  | { type: "tab_closed"; fileId: string }
  | { type: "process_list"; processes: readonly Process[] }
  | { type: "process_seen"; process: ProcessInfo }
  | {
      type: "process_status";
      processId: string;
      sandboxId: string;
      status: ProcessStatus;
      exitCode: number | null;
      signal: string | null;
      reason: string | null;
    }
  | { type: "terminal_opened"; processId: string; activate: boolean }
  | { type: "terminal_active"; processId: string }
  | { type: "terminal_closed"; processId: string }
  | { type: "terminal_caption"; processId: string; caption: string }
  | { type: "connection"; connection: Connection }
  | { type: "sandbox"; sandbox: SandboxState }
  | { type: "dialog"; dialog: Dialog | null }
  | { type: "notice"; tone: Notice["tone"]; text: string; requestId?: string }
  | { type: "notice_read"; id: number }
  | { type: "transfer"; transfer: Transfer }
  | { type: "transfer_over"; id: number };

export function isRunning(process: ProcessInfo | undefined): boolean {
  return process !== undefined && (process.status === "running" || process.status === "pending");
}

export function workspaceOf(state: IdeState): Workspace | null {
  return state.presence.kind === "open" ? state.presence.workspace : null;
}

export function mayEdit(state: IdeState): boolean {
  const role = workspaceOf(state)?.role;
  return role === "owner" || role === "edit";
}
