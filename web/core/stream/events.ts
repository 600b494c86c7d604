/** What happens to the stream's client, and what it wants done. */

import type { Role, SandboxStatus } from "../api-types.ts";
import type { EventId } from "./event-id.ts";
import type { ChangedFile, HelloProcess, ProcessState } from "./messages.ts";

export type TokenFailure = "unreachable" | "signed_out" | "no_access";

export type StreamEvent =
  | { type: "start"; sandboxId: string; token: string | null }
  | { type: "stop" }
  | { type: "token"; token: string }
  | { type: "token_failed"; why: TokenFailure }
  | { type: "text"; data: string }
  | { type: "binary"; data: Uint8Array }
  | { type: "closed"; code: number }
  | { type: "retry" }
  | { type: "retry_input"; processId: string }
  | { type: "attach"; processId: string }
  | { type: "detach"; processId: string }
  | { type: "input"; processId: string; bytes: Uint8Array }
  | { type: "resize"; processId: string; cols: number; rows: number }
  | { type: "shown"; processId: string; id: EventId; bytes: number };

/** What a person is told about the connection. */
export type Connection = "off" | "connecting" | "live" | "reconnecting";

export type StreamEffect =
  | { type: "fetch_token"; sandboxId: string }
  | { type: "open"; sandboxId: string; token: string }
  | { type: "close" }
  | { type: "send"; data: string | Uint8Array }
  | { type: "wait"; ms: number; next: StreamEvent }
  | { type: "connection"; connection: Connection }
  | {
      type: "output";
      processId: string;
      id: EventId;
      stream: "stdout" | "stderr";
      /** When it was written, in the server's milliseconds since 1970. */
      timestamp: number;
      bytes: Uint8Array;
      replayed: boolean;
    }
  | { type: "restart_output"; processId: string }
  | { type: "truncated"; processId: string; bytes: number; reason: string }
  | { type: "hello"; role: Role; processes: HelloProcess[] }
  | { type: "status"; processId: string; state: ProcessState }
  | { type: "files"; changed: ChangedFile[]; removed: string[] }
  | { type: "sandbox"; status: SandboxStatus; reason: string | null }
  | { type: "notice"; code: string; detail: string }
  | { type: "access_changed" }
  | { type: "sandbox_gone"; sandboxId: string }
  | { type: "signed_out" };
