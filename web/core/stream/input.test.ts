import { describe, expect, it } from "vitest";
import { InputQueue } from "./input.ts";

const bytes = (length: number): Uint8Array => new Uint8Array(length);
const seqs = (queue: InputQueue): number[] => queue.takeSendable().map((piece) => piece.seq);

describe("the input queue", () => {
  it("pipelines keystrokes and numbers them from 1", () => {
    const queue = new InputQueue();
    queue.push(bytes(1));
    queue.push(bytes(1));
    expect(seqs(queue)).toEqual([1, 2]);
    expect(seqs(queue)).toEqual([]);
  });

  it("sends a paste one piece at a time", () => {
    const queue = new InputQueue();
    queue.push(bytes(40 * 1024));
    expect(seqs(queue)).toEqual([1]);
    queue.acknowledge(1);
    expect(seqs(queue)).toEqual([2]);
    queue.acknowledge(2);
    expect(seqs(queue)).toEqual([3]);
  });

  it("sends again what was not acknowledged, under the same numbers", () => {
    const queue = new InputQueue();
    for (let at = 0; at < 3; at += 1) queue.push(bytes(1));
    queue.takeSendable();
    queue.acknowledge(1);
    queue.rewind();
    expect(seqs(queue)).toEqual([2, 3]);
  });

  it("goes on behind numbers that were used before", () => {
    const queue = new InputQueue();
    queue.acknowledge(16);
    queue.push(bytes(1));
    expect(seqs(queue)).toEqual([17]);
  });

  it("refuses what would fill the page's memory", () => {
    const queue = new InputQueue();
    expect(queue.push(bytes(4 * 1024 * 1024))).toBe(true);
    expect(queue.push(bytes(1))).toBe(false);
  });
});
