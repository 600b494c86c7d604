import { expect, it } from "vitest";
import { StreamClient } from "./client.ts";
import type { StreamEffect } from "./events.ts";
import { uuidBytes } from "./frames.ts";

const SANDBOX = "00000000-0000-4000-8000-00000000000a";
const P = "00000000-0000-4000-8000-000000000001";

/** A small generator with a seed, so that a failing run can be run again. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function frame(sequence: number): Uint8Array {
  const bytes = new Uint8Array(42 + 100);
  bytes[0] = 1;
  bytes[1] = 1;
  bytes.set(uuidBytes(P) ?? [], 2);
  new DataView(bytes.buffer).setBigUint64(26, BigInt(sequence));
  return bytes;
}

/**
 * A server by the contract, reduced to one process, whose sockets break at any moment and lose what was on its way.
 * Whatever happens, the page shows every event once and in order.
 */
it.each(Array.from({ length: 40 }, (_, seed) => seed))("shows every event once and in order (seed %i)", (seed) => {
  const random = generator(seed + 1);
  const client = new StreamClient(random);
  const shown: number[] = [];
  let written = 0;
  let next = 0;
  let state: "closed" | "greeting" | "resumed" = "closed";
  let wantsToken = false;
  let waits = false;
  const run = (effects: StreamEffect[]): void => {
    for (const effect of effects) {
      if (effect.type === "fetch_token") wantsToken = true;
      else if (effect.type === "open") state = "greeting";
      else if (effect.type === "close") state = "closed";
      else if (effect.type === "wait") waits = true;
      else if (effect.type === "output") shown.push(effect.id.sequence);
      else if (effect.type === "send" && typeof effect.data === "string") {
        const message = JSON.parse(effect.data);
        if (message.type !== "resume") continue;
        next = Number(message.last_seen_id.split("-")[1]) + 1;
        state = "resumed";
      }
    }
  };
  client.step({ type: "attach", processId: P });
  run(client.step({ type: "start", sandboxId: SANDBOX, token: "t" }));
  const step = (mayBreak: boolean): void => {
    const roll = random();
    if (mayBreak && roll < 0.05 && state !== "closed") {
      state = "closed";
      run(client.step({ type: "closed", code: 1006 }));
    } else if (wantsToken) {
      wantsToken = false;
      run(client.step(roll < 0.3 ? { type: "token_failed", why: "unreachable" } : { type: "token", token: "t" }));
    } else if (waits) {
      waits = false;
      run(client.step({ type: "retry" }));
    } else if (state === "greeting") {
      const last = written === 0 ? null : `0-${written}`;
      const processes = [{ process_id: P, status: "running", first_id: "0-1", last_id: last, input_seq: 0 }];
      run(client.step({ type: "text", data: JSON.stringify({ type: "hello", role: "edit", processes }) }));
    } else if (state === "resumed" && next <= written) {
      // Now and then one is delivered twice.
      const sequence = roll > 0.95 && next > 1 ? next - 1 : next++;
      run(client.step({ type: "binary", data: frame(sequence) }));
    }
  };
  for (let at = 0; at < 600; at += 1) {
    if (random() < 0.4) written += 1;
    step(true);
  }
  for (let at = 0; at < 2000 && shown.length < written; at += 1) step(false);
  expect(shown).toEqual(Array.from({ length: written }, (_, at) => at + 1));
});
