/**
 * The stream's client as a state machine: events in, effects out; no socket, no timer, no clock.
 *
 * | phase   | left by                                                                  |
 * |---------|--------------------------------------------------------------------------|
 * | off     | `start` → token (or opening, where a token is at hand)                     |
 * | token   | `token` → opening · `token_failed` → waiting or off                        |
 * | opening | `hello` → live · `closed` → waiting or off                                 |
 * | live    | `closed` → waiting or off                                                 |
 * | waiting | `retry` → token                                                           |
 *
 * `stop` leads to off from everywhere. The socket is opened with `from=resume&flow=ack`: after `hello` each process
 * that somebody looks at goes on behind its cursor; one that runs but is not looked at goes on at its end, and its
 * output is acked and dropped so that its status still arrives; a finished one stays silent until it is attached.
 */

import { backoffMs } from "./backoff.ts";
import { closeVerdict } from "./close.ts";
import { Cursor } from "./cursor.ts";
import { type EventId, formatId, ZERO } from "./event-id.ts";
import type { StreamEffect, StreamEvent, TokenFailure } from "./events.ts";
import { decodeOutput, encodeInput, type OutputFrame } from "./frames.ts";
import { InputQueue } from "./input.ts";
import type { ClientMessage, ServerMessage } from "./messages.ts";
import { parseMessage } from "./messages.ts";

/** The wait before input is tried again that the agent had no room for, in milliseconds. */
const INPUT_FULL_MS = 500;

type Phase = "off" | "token" | "opening" | "live" | "waiting";

interface Tracked {
  cursor: Cursor;
  input: InputQueue;
  attached: boolean;
  /** Output went by that was dropped: showing it all needs a replay from the start. */
  skipped: boolean;
  /** Listed by this socket's `hello`, so silent until resumed. */
  listed: boolean;
  resumed: boolean;
  /** Events up to here were written before this socket opened. */
  liveFrom: EventId;
  size: { cols: number; rows: number } | null;
}

export class StreamClient {
  readonly #random: () => number;
  #phase: Phase = "off";
  #sandboxId = "";
  #attempt = 0;
  /** The page was live at least once, so that a new try is a *re*connect. */
  #wasLive = false;
  readonly #processes = new Map<string, Tracked>();

  /** `random` is uniform in [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  get sandboxId(): string | null {
    return this.#phase === "off" ? null : this.#sandboxId;
  }

  step(event: StreamEvent): StreamEffect[] {
    switch (event.type) {
      case "start":
        return this.#start(event.sandboxId, event.token);
      case "stop":
        return this.#end([]);
      case "token":
        return this.#phase === "token" ? this.#open(event.token) : [];
      case "token_failed":
        return this.#tokenFailed(event.why);
      case "text":
        return this.#text(event.data);
      case "binary": {
        const frame = decodeOutput(event.data);
        return this.#phase === "live" && frame !== null ? this.#output(frame) : [];
      }
      case "closed":
        return this.#closed(event.code);
      case "retry":
        return this.#phase === "waiting" ? this.#fetchToken() : [];
      case "retry_input": {
        const process = this.#processes.get(event.processId);
        process?.input.rewind();
        return process === undefined ? [] : this.#sendInput(event.processId, process);
      }
      case "attach":
        return this.#attach(event.processId);
      case "detach":
        return this.#detach(event.processId);
      case "input":
        return this.#input(event.processId, event.bytes);
      case "resize": {
        const process = this.#track(event.processId);
        process.size = { cols: event.cols, rows: event.rows };
        return this.#phase === "live" ? this.#sendSize(event.processId, process) : [];
      }
      case "shown":
        return this.#shown(event.processId, event.id, event.bytes);
    }
  }

  // --- connecting ---

  #start(sandboxId: string, token: string | null): StreamEffect[] {
    if (this.#phase !== "off" && sandboxId === this.#sandboxId) {
      return this.#phase === "waiting" ? this.#fetchToken() : [];
    }
    const effects: StreamEffect[] = this.#phase === "opening" || this.#phase === "live" ? [{ type: "close" }] : [];
    if (sandboxId !== this.#sandboxId) {
      // Another life: none of the cursors means anything there. What a page attached in advance stays attached.
      for (const [id, process] of this.#processes) if (process.resumed || process.listed) this.#processes.delete(id);
      this.#wasLive = false;
    }
    this.#sandboxId = sandboxId;
    this.#attempt = 0;
    effects.push(this.#connection());
    return effects.concat(token === null ? this.#fetchToken() : this.#open(token));
  }

  #fetchToken(): StreamEffect[] {
    this.#phase = "token";
    return [{ type: "fetch_token", sandboxId: this.#sandboxId }];
  }

  #open(token: string): StreamEffect[] {
    this.#phase = "opening";
    return [{ type: "open", sandboxId: this.#sandboxId, token }];
  }

  #tokenFailed(why: TokenFailure): StreamEffect[] {
    if (this.#phase !== "token") return [];
    switch (why) {
      case "unreachable":
        return this.#wait();
      case "signed_out":
        return this.#end([{ type: "signed_out" }]);
      case "no_access":
        return this.#end([{ type: "access_changed" }]);
    }
  }

  #closed(code: number): StreamEffect[] {
    if (this.#phase !== "opening" && this.#phase !== "live") return [];
    switch (closeVerdict(code)) {
      case "reconnect":
        return this.#wait();
      case "access_changed":
        return this.#end([{ type: "access_changed" }]);
      case "sandbox_gone":
        return this.#end([{ type: "sandbox_gone", sandboxId: this.#sandboxId }]);
    }
  }

  #wait(): StreamEffect[] {
    this.#phase = "waiting";
    const ms = backoffMs(this.#attempt, this.#random());
    this.#attempt += 1;
    return [this.#connection(), { type: "wait", ms, next: { type: "retry" } }];
  }

  #end(effects: StreamEffect[]): StreamEffect[] {
    const open = this.#phase === "opening" || this.#phase === "live";
    this.#phase = "off";
    return [...(open ? [{ type: "close" } as const] : []), { type: "connection", connection: "off" }, ...effects];
  }

  #connection(): StreamEffect {
    return { type: "connection", connection: this.#wasLive ? "reconnecting" : "connecting" };
  }

  /** A new socket at once, because only a new socket replays from an earlier place. */
  #reopen(): StreamEffect[] {
    return [{ type: "close" }, ...this.#fetchToken()];
  }

  // --- what the server says ---

  #text(data: string): StreamEffect[] {
    const message = parseMessage(data);
    if (message === null) return [];
    if (message.type === "hello") return this.#phase === "opening" ? this.#hello(message) : [];
    if (this.#phase !== "live") return [];
    switch (message.type) {
      case "status":
        this.#track(message.processId);
        return [message];
      case "truncated": {
        const process = this.#track(message.processId);
        process.cursor.skipTo(message.to);
        if (!process.attached) return [];
        const { processId, bytes, reason } = message;
        return [{ type: "truncated", processId, bytes, reason }];
      }
      case "input_ack": {
        const process = this.#track(message.processId);
        process.input.acknowledge(message.seq);
        return this.#sendInput(message.processId, process);
      }
      case "error":
        return this.#error(message);
      case "files":
        return [{ type: "files", changed: message.changed, removed: message.removed }];
      case "sandbox":
      case "notice":
        return [message];
    }
  }

  #hello(message: Extract<ServerMessage, { type: "hello" }>): StreamEffect[] {
    this.#phase = "live";
    this.#wasLive = true;
    this.#attempt = 0;
    const effects: StreamEffect[] = [
      { type: "connection", connection: "live" },
      { type: "hello", role: message.role, processes: message.processes },
    ];
    for (const process of this.#processes.values()) {
      process.listed = false;
      process.resumed = false;
      process.liveFrom = ZERO;
      process.cursor.newSocket();
      process.input.rewind();
    }
    for (const listed of message.processes) {
      const { processId, status, lastId, inputSeq } = listed;
      const process = this.#track(processId);
      process.listed = true;
      process.liveFrom = lastId ?? ZERO;
      process.input.acknowledge(inputSeq);
      const runs = status === "running" || status === "pending";
      if (!runs) process.input.clear();
      if (process.attached) {
        effects.push(...this.#resume(processId, process));
      } else if (runs) {
        process.skipped ||= lastId !== null;
        process.cursor.skipTo(lastId ?? ZERO);
        effects.push(...this.#resume(processId, process));
      }
      if (runs) effects.push(...this.#sendSize(processId, process), ...this.#sendInput(processId, process));
    }
    return effects;
  }

  #resume(processId: string, process: Tracked): StreamEffect[] {
    const effects: StreamEffect[] = [];
    if (process.attached && process.skipped) {
      process.skipped = false;
      process.cursor.reset();
      effects.push({ type: "restart_output", processId });
    }
    process.resumed = true;
    effects.push(text({ type: "resume", process_id: processId, last_seen_id: formatId(process.cursor.seen) }));
    return effects;
  }

  #output(frame: OutputFrame): StreamEffect[] {
    const { processId, id, stream, timestamp, bytes } = frame;
    const process = this.#track(processId);
    if (!process.attached) {
      process.skipped = true;
      process.cursor.skipTo(id);
      return this.#shown(processId, id, bytes.length);
    }
    const effects: StreamEffect[] = [];
    let arrival = process.cursor.arrive(id);
    if (arrival === "gap") {
      // Asking once more repairs a lost message; if the same hole is there again, it is said, not hidden.
      if (!process.cursor.gapMetBefore()) return this.#reopen();
      process.cursor.skipTo({ generation: id.generation, sequence: id.sequence - 1 });
      effects.push({ type: "truncated", processId, bytes: 0, reason: "gap" });
      arrival = process.cursor.arrive(id);
    }
    if (arrival !== "next") return effects;
    const replayed = id.sequence <= process.liveFrom.sequence;
    effects.push({ type: "output", processId, id, stream, timestamp, bytes, replayed });
    return effects;
  }

  #error(message: Extract<ServerMessage, { type: "error" }>): StreamEffect[] {
    const { code, detail, processId } = message;
    const process = processId === null ? undefined : this.#processes.get(processId);
    const notice: StreamEffect = { type: "notice", code, detail };
    if (processId === null || process === undefined) return [notice];
    switch (code) {
      case "input_full":
        if (!process.input.refuse()) return [];
        return [{ type: "wait", ms: INPUT_FULL_MS, next: { type: "retry_input", processId } }];
      case "process_ended":
      case "process_not_found":
      case "not_permitted":
        process.input.clear();
        return code === "not_permitted" ? [notice] : [];
      case "resume_invalid":
        // The server no longer knows this place (its store was lost): what it has is shown from its start.
        if (process.cursor.seen.sequence === 0) return [notice];
        process.skipped = true;
        return this.#resume(processId, process);
      default:
        return [notice];
    }
  }

  // --- what the page does ---

  #attach(processId: string): StreamEffect[] {
    const process = this.#track(processId);
    if (process.attached) return [];
    process.attached = true;
    if (this.#phase !== "live") return [];
    if (process.listed && !process.resumed) return this.#resume(processId, process);
    return process.skipped ? this.#reopen() : [];
  }

  #detach(processId: string): StreamEffect[] {
    const process = this.#processes.get(processId);
    if (process !== undefined) {
      process.attached = false;
      process.skipped ||= process.cursor.seen.sequence > 0;
    }
    return [];
  }

  #input(processId: string, bytes: Uint8Array): StreamEffect[] {
    const process = this.#track(processId);
    if (!process.input.push(bytes)) {
      return [{ type: "notice", code: "input_full", detail: "The program does not read its input." }];
    }
    return this.#sendInput(processId, process);
  }

  #sendInput(processId: string, process: Tracked): StreamEffect[] {
    if (this.#phase !== "live") return [];
    const effects: StreamEffect[] = [];
    for (const piece of process.input.takeSendable()) {
      const data = encodeInput(processId, piece.seq, piece.bytes);
      if (data !== null) effects.push({ type: "send", data });
    }
    return effects;
  }

  #sendSize(processId: string, process: Tracked): StreamEffect[] {
    return process.size === null ? [] : [text({ type: "resize", process_id: processId, ...process.size })];
  }

  #shown(processId: string, id: EventId, bytes: number): StreamEffect[] {
    const due = this.#track(processId).cursor.shown(bytes);
    return due && this.#phase === "live" ? [text({ type: "ack", process_id: processId, id: formatId(id) })] : [];
  }

  #track(processId: string): Tracked {
    let process = this.#processes.get(processId);
    if (process === undefined) {
      process = {
        cursor: new Cursor(),
        input: new InputQueue(),
        attached: false,
        skipped: false,
        listed: false,
        resumed: false,
        liveFrom: ZERO,
        size: null,
      };
      this.#processes.set(processId, process);
    }
    return process;
  }
}

function text(message: ClientMessage): StreamEffect {
  return { type: "send", data: JSON.stringify(message) };
}
