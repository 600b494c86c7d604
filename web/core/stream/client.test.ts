import { beforeEach, describe, expect, it } from "vitest";
import { StreamClient } from "./client.ts";
import type { StreamEffect } from "./events.ts";
import { uuidBytes } from "./frames.ts";

const SANDBOX = "00000000-0000-4000-8000-00000000000a";
const P = "00000000-0000-4000-8000-000000000001";
const Q = "00000000-0000-4000-8000-000000000002";

let client: StreamClient;

beforeEach(() => {
  client = new StreamClient(() => 0.5);
});

function frame(processId: string, generation: number, sequence: number, size = 1): Uint8Array {
  const bytes = new Uint8Array(42 + size);
  bytes[0] = 1;
  bytes[1] = 1;
  bytes.set(uuidBytes(processId) ?? [], 2);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(18, BigInt(generation));
  view.setBigUint64(26, BigInt(sequence));
  return bytes;
}

const output = (processId: string, sequence: number, generation = 0, size = 1): StreamEffect[] =>
  client.step({ type: "binary", data: frame(processId, generation, sequence, size) });

interface Listed {
  id: string;
  status?: string;
  last?: string | null;
  inputSeq?: number;
}

function hello(...listed: Listed[]): StreamEffect[] {
  const processes = listed.map(({ id, status = "running", last = null, inputSeq = 0 }) => ({
    process_id: id,
    status,
    first_id: last === null ? null : "0-1",
    last_id: last,
    input_seq: inputSeq,
  }));
  return client.step({
    type: "text",
    data: JSON.stringify({ type: "hello", sandbox_id: SANDBOX, role: "edit", processes }),
  });
}

function connect(...listed: Listed[]): StreamEffect[] {
  client.step({ type: "start", sandboxId: SANDBOX, token: "t" });
  return hello(...listed);
}

const sent = (effects: StreamEffect[]): unknown[] =>
  effects.flatMap((effect) =>
    effect.type === "send" && typeof effect.data === "string" ? [JSON.parse(effect.data)] : [],
  );
const kinds = (effects: StreamEffect[]): string[] => effects.map((effect) => effect.type);
const resume = (processId: string, last_seen_id: string) => ({ type: "resume", process_id: processId, last_seen_id });

describe("connecting", () => {
  it("uses the token at hand, and fetches one for every later socket", () => {
    expect(client.step({ type: "start", sandboxId: SANDBOX, token: "t" })).toContainEqual({
      type: "open",
      sandboxId: SANDBOX,
      token: "t",
    });
    hello();
    const effects = client.step({ type: "closed", code: 1006 });
    expect(effects).toContainEqual({ type: "connection", connection: "reconnecting" });
    expect(kinds(effects)).toContain("wait");
    expect(client.step({ type: "retry" })).toEqual([{ type: "fetch_token", sandboxId: SANDBOX }]);
    expect(kinds(client.step({ type: "token", token: "u" }))).toEqual(["open"]);
    expect(hello()).toContainEqual({ type: "connection", connection: "live" });
  });

  it("waits longer while the server is away, and starts over once it is back", () => {
    connect();
    const waits: number[] = [];
    const note = (effects: StreamEffect[]): void => {
      for (const effect of effects) if (effect.type === "wait") waits.push(effect.ms);
    };
    note(client.step({ type: "closed", code: 1006 }));
    for (let at = 0; at < 4; at += 1) {
      client.step({ type: "retry" });
      note(client.step({ type: "token_failed", why: "unreachable" }));
    }
    expect([...waits].sort((a, b) => a - b)).toEqual(waits);
    client.step({ type: "retry" });
    client.step({ type: "token", token: "u" });
    hello();
    note(client.step({ type: "closed", code: 1012 }));
    expect(waits.at(-1)).toBe(waits[0]);
  });

  it.each([
    [4401, "wait"],
    [4408, "wait"],
    [1012, "wait"],
    [4403, "access_changed"],
    [4404, "sandbox_gone"],
    [4410, "sandbox_gone"],
  ])("answers close code %i with %s", (code, effect) => {
    connect();
    expect(kinds(client.step({ type: "closed", code }))).toContain(effect);
  });

  it("ends where the session or the access did", () => {
    connect();
    client.step({ type: "closed", code: 4401 });
    client.step({ type: "retry" });
    expect(kinds(client.step({ type: "token_failed", why: "signed_out" }))).toContain("signed_out");
    expect(client.sandboxId).toBeNull();
    expect(client.step({ type: "retry" })).toEqual([]);
  });

  it("moves to another sandbox by itself", () => {
    connect({ id: P });
    const other = SANDBOX.replace("a", "b");
    expect(kinds(client.step({ type: "start", sandboxId: other, token: "t" }))).toEqual([
      "close",
      "connection",
      "open",
    ]);
  });
});

describe("resuming", () => {
  it("goes on behind what was taken, for each process", () => {
    client.step({ type: "attach", processId: P });
    client.step({ type: "attach", processId: Q });
    expect(sent(connect({ id: P }, { id: Q, status: "completed", last: "0-9" }))).toEqual([
      resume(P, "0-0"),
      resume(Q, "0-0"),
    ]);
    for (let at = 1; at <= 3; at += 1) output(P, at);
    output(Q, 1);
    client.step({ type: "closed", code: 1006 });
    client.step({ type: "retry" });
    client.step({ type: "token", token: "u" });
    expect(sent(hello({ id: P, last: "0-5" }, { id: Q, status: "completed", last: "0-9" }))).toEqual([
      resume(P, "0-3"),
      resume(Q, "0-1"),
    ]);
  });

  it("leaves a finished process silent until somebody looks at it", () => {
    expect(sent(connect({ id: P, status: "failed", last: "0-9" }))).toEqual([]);
    expect(sent(client.step({ type: "attach", processId: P }))).toEqual([resume(P, "0-0")]);
  });

  it("follows the end of a running process that nobody looks at, and replays it all when somebody does", () => {
    expect(sent(connect({ id: P, last: "0-9" }))).toEqual([resume(P, "0-9")]);
    expect(kinds(output(P, 10))).toEqual([]);
    expect(client.step({ type: "attach", processId: P })).toEqual([
      { type: "close" },
      { type: "fetch_token", sandboxId: SANDBOX },
    ]);
    client.step({ type: "token", token: "u" });
    const effects = hello({ id: P, last: "0-10" });
    expect(kinds(effects)).toContain("restart_output");
    expect(sent(effects)).toEqual([resume(P, "0-0")]);
  });

  it("does not resume a process that started later: it is live", () => {
    connect();
    client.step({ type: "text", data: JSON.stringify({ type: "status", process_id: P, status: "running" }) });
    expect(client.step({ type: "attach", processId: P })).toEqual([]);
    expect(kinds(output(P, 1))).toEqual(["output"]);
  });

  it("takes each event once, in order, and asks again where one is missing", () => {
    client.step({ type: "attach", processId: P });
    connect({ id: P });
    output(P, 1);
    expect(output(P, 1)).toEqual([]);
    expect(kinds(output(P, 3))).toEqual(["close", "fetch_token"]);
    client.step({ type: "token", token: "u" });
    expect(sent(hello({ id: P, last: "0-3" }))).toEqual([resume(P, "0-1")]);
    // The same hole again is said, and the output behind it shown.
    expect(kinds(output(P, 3))).toEqual(["truncated", "output"]);
  });

  it("goes on behind a truncated range, also in a newer generation", () => {
    client.step({ type: "attach", processId: P });
    connect({ id: P, last: "0-120" });
    const gone = { type: "truncated", process_id: P, from_id: "0-1", to_id: "0-99", bytes: 5, reason: "retention" };
    expect(client.step({ type: "text", data: JSON.stringify(gone) })).toEqual([
      { type: "truncated", processId: P, bytes: 5, reason: "retention" },
    ]);
    expect(output(P, 100)).toContainEqual(expect.objectContaining({ type: "output", replayed: true }));
    expect(kinds(output(P, 101, 1))).toEqual(["output"]);
    expect(output(P, 101, 0)).toEqual([]);
  });

  it("accepts a newer generation that goes on before what was seen", () => {
    client.step({ type: "attach", processId: P });
    connect({ id: P });
    for (let at = 1; at <= 5; at += 1) output(P, at);
    expect(kinds(output(P, 4, 1))).toEqual(["output"]);
    expect(kinds(output(P, 5, 1))).toEqual(["output"]);
  });

  it("starts over where the server no longer knows the place", () => {
    client.step({ type: "attach", processId: P });
    connect({ id: P });
    output(P, 1);
    const error = { type: "error", code: "resume_invalid", detail: "never reached", process_id: P };
    const effects = client.step({ type: "text", data: JSON.stringify(error) });
    expect(kinds(effects)).toContain("restart_output");
    expect(sent(effects)).toEqual([resume(P, "0-0")]);
  });
});

describe("flow control", () => {
  it("acks what is shown, every five kilobytes", () => {
    client.step({ type: "attach", processId: P });
    connect({ id: P });
    const shown = (sequence: number) =>
      client.step({ type: "shown", processId: P, id: { generation: 0, sequence }, bytes: 2048 });
    expect(shown(1)).toEqual([]);
    expect(shown(2)).toEqual([]);
    expect(sent(shown(3))).toEqual([{ type: "ack", process_id: P, id: "0-3" }]);
    expect(shown(4)).toEqual([]);
  });

  it("acks what nobody looks at as well, so that its status arrives", () => {
    connect({ id: P });
    expect(sent(output(P, 1, 0, 6000))).toEqual([{ type: "ack", process_id: P, id: "0-1" }]);
  });
});

describe("input", () => {
  const type = (text: string) =>
    client.step({ type: "input", processId: P, bytes: Uint8Array.from(text, (c) => c.charCodeAt(0)) });
  const seqOf = (effect: StreamEffect): number =>
    effect.type === "send" && typeof effect.data !== "string"
      ? Number(new DataView(effect.data.buffer).getBigUint64(17))
      : -1;

  it("is kept while there is no connection, and what was taken is not sent again", () => {
    connect({ id: P });
    expect(type("a").map(seqOf)).toEqual([1]);
    expect(type("b").map(seqOf)).toEqual([2]);
    client.step({ type: "closed", code: 1006 });
    expect(type("c")).toEqual([]);
    client.step({ type: "retry" });
    client.step({ type: "token", token: "u" });
    const again = hello({ id: P, inputSeq: 1 }).filter((effect) => seqOf(effect) > 0);
    expect(again.map(seqOf)).toEqual([2, 3]);
  });

  it("of an ended process is forgotten", () => {
    connect({ id: P });
    type("a");
    client.step({ type: "closed", code: 1006 });
    client.step({ type: "retry" });
    client.step({ type: "token", token: "u" });
    expect(hello({ id: P, status: "failed" }).filter((effect) => seqOf(effect) > 0)).toEqual([]);
  });

  it("is tried again when the agent had no room", () => {
    connect({ id: P });
    type("a");
    const full = { type: "error", code: "input_full", detail: "full", process_id: P };
    const [wait] = client.step({ type: "text", data: JSON.stringify(full) });
    expect(wait?.type).toBe("wait");
    // What else was on its way is refused too, and what is typed meanwhile waits behind it.
    expect(client.step({ type: "text", data: JSON.stringify(full) })).toEqual([]);
    expect(type("b").map(seqOf)).toEqual([]);
    expect(client.step({ type: "retry_input", processId: P }).map(seqOf)).toEqual([1, 2]);
    expect(client.step({ type: "text", data: JSON.stringify(full) })).toHaveLength(1);
  });
});

it("tells a terminal's size again on every socket", () => {
  client.step({ type: "attach", processId: P });
  client.step({ type: "resize", processId: P, cols: 90, rows: 30 });
  expect(sent(connect({ id: P }))).toContainEqual({ type: "resize", process_id: P, cols: 90, rows: 30 });
});

it("ignores what it does not know", () => {
  connect();
  for (const data of ["", "{", "[]", "7", '{"type":"later"}', '{"type":"status"}', '{"type":"truncated"}']) {
    expect(client.step({ type: "text", data })).toEqual([]);
  }
  expect(client.step({ type: "binary", data: new Uint8Array(3) })).toEqual([]);
});
