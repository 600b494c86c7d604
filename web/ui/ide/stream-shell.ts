/** Runs the stream client's effects: the socket, the timers and the token. What concerns the page goes to it. */

import type { Api } from "../../core/api.ts";
import { Problem } from "../../core/problem.ts";
import { StreamClient } from "../../core/stream/client.ts";
import type { StreamEffect, StreamEvent, TokenFailure } from "../../core/stream/events.ts";
import { BINARY_SUBPROTOCOL } from "../../core/stream/frames.ts";
import { uuid } from "../uuid.ts";

export type PageEffect = Exclude<StreamEffect, { type: "fetch_token" | "open" | "close" | "send" | "wait" }>;

export class StreamShell {
  readonly #api: Api;
  readonly #page: (effect: PageEffect) => void;
  readonly #client = new StreamClient(Math.random);
  /** Two pages of one user must not count their keystrokes together. */
  readonly #writer = uuid();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #socket: WebSocket | null = null;

  constructor(api: Api, page: (effect: PageEffect) => void) {
    this.#api = api;
    this.#page = page;
    window.addEventListener("online", this.#onOnline);
    window.addEventListener("offline", this.#onOffline);
  }

  get sandboxId(): string | null {
    return this.#client.sandboxId;
  }

  feed(event: StreamEvent): void {
    for (const effect of this.#client.step(event)) this.#run(effect);
  }

  dispose(): void {
    this.feed({ type: "stop" });
    for (const timer of this.#timers) clearTimeout(timer);
    window.removeEventListener("online", this.#onOnline);
    window.removeEventListener("offline", this.#onOffline);
  }

  readonly #onOnline = (): void => this.feed({ type: "retry" });
  /** A socket whose network is gone may look open for many minutes. */
  readonly #onOffline = (): void => {
    if (this.#socket === null) return;
    this.#close();
    this.feed({ type: "closed", code: 1006 });
  };

  #run(effect: StreamEffect): void {
    switch (effect.type) {
      case "fetch_token":
        void this.#fetchToken(effect.sandboxId);
        break;
      case "open":
        this.#open(effect.sandboxId, effect.token);
        break;
      case "close":
        this.#close();
        break;
      case "send":
        if (this.#socket?.readyState === WebSocket.OPEN)
          this.#socket.send(effect.data as string | BufferSource as string);
        break;
      case "wait": {
        const timer = setTimeout(() => {
          this.#timers.delete(timer);
          this.feed(effect.next);
        }, effect.ms);
        this.#timers.add(timer);
        break;
      }
      default:
        this.#page(effect);
    }
  }

  async #fetchToken(sandboxId: string): Promise<void> {
    let event: StreamEvent;
    try {
      event = { type: "token", token: (await this.#api.streamToken(sandboxId)).stream_token };
    } catch (error) {
      event = { type: "token_failed", why: tokenFailure(error) };
    }
    // Another sandbox may have been started while this one's token was on its way.
    if (this.#client.sandboxId === sandboxId) this.feed(event);
  }

  #open(sandboxId: string, token: string): void {
    this.#close();
    const query = new URLSearchParams({ token, from: "resume", flow: "ack", writer: this.#writer });
    const url = new URL(`/api/stream/${sandboxId}?${query}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, [BINARY_SUBPROTOCOL]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = (message: MessageEvent<string | ArrayBuffer>) => {
      if (this.#socket !== socket) return;
      if (typeof message.data === "string") this.feed({ type: "text", data: message.data });
      else this.feed({ type: "binary", data: new Uint8Array(message.data) });
    };
    socket.onclose = (close) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.feed({ type: "closed", code: close.code });
    };
  }

  /** Lets go of the socket; nothing it still says is heard. */
  #close(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}

function tokenFailure(error: unknown): TokenFailure {
  if (!(error instanceof Problem)) return "unreachable";
  if (error.status === 401) return "signed_out";
  return error.status === 403 || error.status === 404 || error.status === 410 ? "no_access" : "unreachable";
}
