/** The JSON messages of the stream, read as hostile until checked. */

import type { ProcessStatus, Role, SandboxStatus } from "../api-types.ts";
import { type EventId, parseId } from "./event-id.ts";

export interface HelloProcess {
  processId: string;
  status: ProcessStatus;
  firstId: EventId | null;
  lastId: EventId | null;
  inputSeq: number;
}

export interface ProcessState {
  status: ProcessStatus;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
}

export interface ChangedFile {
  path: string;
  id: string;
  etag: string;
}

export type ServerMessage =
  | { type: "hello"; role: Role; processes: HelloProcess[] }
  | { type: "status"; processId: string; state: ProcessState }
  | { type: "files"; version: number; changed: ChangedFile[]; removed: string[] }
  | { type: "sandbox"; status: SandboxStatus; reason: string | null }
  | { type: "truncated"; processId: string; from: EventId; to: EventId; bytes: number; reason: string }
  | { type: "input_ack"; processId: string; seq: number }
  | { type: "error"; code: string; detail: string; processId: string | null }
  | { type: "notice"; code: string; detail: string };

export type ClientMessage =
  | { type: "resume"; process_id: string; last_seen_id: string }
  | { type: "resize"; process_id: string; cols: number; rows: number }
  | { type: "ack"; process_id: string; id: string };

const PROCESS_STATUSES: readonly string[] = ["pending", "running", "completed", "failed", "cancelled"];
const SANDBOX_STATUSES: readonly string[] = [
  "provisioning",
  "warm",
  "assigned",
  "running",
  "idle",
  "suspending",
  "suspended",
  "terminated",
  "failed",
];

type Fields = Record<string, unknown>;

/** The message in a text frame; null for what this page does not know, which newer servers may send. */
export function parseMessage(text: string): ServerMessage | null {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isFields(fields)) return null;
  switch (fields.type) {
    case "hello":
      return hello(fields);
    case "status": {
      const processId = string(fields, "process_id");
      const status = processStatus(fields);
      if (processId === null || status === null) return null;
      return {
        type: "status",
        processId,
        state: {
          status,
          exitCode: number(fields, "exit_code"),
          signal: string(fields, "signal"),
          reason: string(fields, "reason"),
        },
      };
    }
    case "files":
      return files(fields);
    case "sandbox": {
      const status = string(fields, "status");
      if (status === null || !SANDBOX_STATUSES.includes(status)) return null;
      return { type: "sandbox", status: status as SandboxStatus, reason: string(fields, "reason") };
    }
    case "truncated": {
      const processId = string(fields, "process_id");
      const from = parseId(fields.from_id);
      const to = parseId(fields.to_id);
      if (processId === null || from === null || to === null) return null;
      const reason = string(fields, "reason") ?? "";
      return { type: "truncated", processId, from, to, bytes: number(fields, "bytes") ?? 0, reason };
    }
    case "input_ack": {
      const processId = string(fields, "process_id");
      const seq = number(fields, "seq");
      return processId === null || seq === null ? null : { type: "input_ack", processId, seq };
    }
    case "error":
    case "notice": {
      const code = string(fields, "code") ?? "unknown";
      const detail = string(fields, "detail") ?? code;
      if (fields.type === "notice") return { type: "notice", code, detail };
      return { type: "error", code, detail, processId: string(fields, "process_id") };
    }
    default:
      return null;
  }
}

function hello(fields: Fields): ServerMessage | null {
  const role = string(fields, "role");
  if (role !== "owner" && role !== "edit" && role !== "view") return null;
  const processes: HelloProcess[] = [];
  for (const item of list(fields, "processes")) {
    if (!isFields(item)) continue;
    const processId = string(item, "process_id");
    const status = processStatus(item);
    if (processId === null || status === null) continue;
    processes.push({
      processId,
      status,
      firstId: parseId(item.first_id),
      lastId: parseId(item.last_id),
      inputSeq: number(item, "input_seq") ?? 0,
    });
  }
  return { type: "hello", role, processes };
}

function files(fields: Fields): ServerMessage {
  const changed: ChangedFile[] = [];
  for (const item of list(fields, "changed")) {
    if (!isFields(item)) continue;
    const path = string(item, "path");
    const id = string(item, "id");
    if (path !== null && id !== null) changed.push({ path, id, etag: string(item, "etag") ?? "" });
  }
  const removed = list(fields, "removed").filter((path): path is string => typeof path === "string");
  return { type: "files", version: number(fields, "version") ?? 0, changed, removed };
}

function processStatus(fields: Fields): ProcessStatus | null {
  const status = string(fields, "status");
  return status !== null && PROCESS_STATUSES.includes(status) ? (status as ProcessStatus) : null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(fields: Fields, key: string): unknown[] {
  const value = fields[key];
  return Array.isArray(value) ? value : [];
}

function string(fields: Fields, key: string): string | null {
  const value = fields[key];
  return typeof value === "string" ? value : null;
}

function number(fields: Fields, key: string): number | null {
  const value = fields[key];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
