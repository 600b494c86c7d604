import { describe, expect, it } from "vitest";
import { decodeOutput, encodeInput, uuidBytes, uuidText } from "./frames.ts";

const ID = "0192f3a4-5b6c-7d8e-9f00-112233445566";

function outputFrame(generation: bigint, sequence: bigint, bytes: number[], stream = 1): Uint8Array {
  const frame = new Uint8Array(42 + bytes.length);
  frame[0] = 1;
  frame[1] = stream;
  frame.set(uuidBytes(ID) ?? [], 2);
  const view = new DataView(frame.buffer);
  view.setBigUint64(18, generation);
  view.setBigUint64(26, sequence);
  view.setBigUint64(34, 1_699_999_999_999n);
  frame.set(bytes, 42);
  return frame;
}

describe("output frames", () => {
  it("are taken apart, also out of the middle of a buffer", () => {
    const frame = outputFrame(2n, 413n, [104, 105], 2);
    const larger = new Uint8Array(frame.length + 7);
    larger.set(frame, 5);
    expect(decodeOutput(larger.subarray(5, 5 + frame.length))).toEqual({
      processId: ID,
      id: { generation: 2, sequence: 413 },
      stream: "stderr",
      timestamp: 1_699_999_999_999,
      bytes: new Uint8Array([104, 105]),
    });
  });

  it("may be empty", () => {
    expect(decodeOutput(outputFrame(0n, 1n, []))?.bytes.length).toBe(0);
  });

  it("are refused when short, of another kind, of another stream, or beyond what numbers hold", () => {
    const good = outputFrame(0n, 1n, []);
    expect(decodeOutput(good.subarray(0, 41))).toBeNull();
    expect(decodeOutput(new Uint8Array())).toBeNull();
    expect(decodeOutput(outputFrame(0n, 1n, [], 3))).toBeNull();
    expect(decodeOutput(outputFrame(0n, 2n ** 60n, []))).toBeNull();
    good[0] = 2;
    expect(decodeOutput(good)).toBeNull();
  });
});

describe("input frames", () => {
  it("have the contract's layout", () => {
    const frame = encodeInput(ID, 258, new Uint8Array([7]));
    expect(frame?.length).toBe(26);
    expect(Array.from(frame?.subarray(0, 3) ?? [])).toEqual([2, 0x01, 0x92]);
    expect(Array.from(frame?.subarray(17) ?? [])).toEqual([0, 0, 0, 0, 0, 0, 1, 2, 7]);
  });

  it("need a UUID", () => {
    expect(encodeInput("no-uuid", 1, new Uint8Array())).toBeNull();
  });
});

it("writes and reads UUIDs alike", () => {
  expect(uuidText(uuidBytes(ID) ?? new Uint8Array())).toBe(ID);
});
