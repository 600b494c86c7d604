/** The binary frames of the subprotocol `playhouse.v1.bin`. Integers are big-endian. */

import type { EventId } from "./event-id.ts";

export const BINARY_SUBPROTOCOL = "playhouse.v1.bin";

const OUTPUT_TAG = 0x01;
const INPUT_TAG = 0x02;
const OUTPUT_HEAD_BYTES = 1 + 1 + 16 + 8 + 8 + 8;
const INPUT_HEAD_BYTES = 1 + 16 + 8;

export interface OutputFrame {
  processId: string;
  id: EventId;
  stream: "stdout" | "stderr";
  timestamp: number;
  bytes: Uint8Array;
}

/** Takes an output frame apart; null for anything that is none. The bytes are a view, not a copy. */
export function decodeOutput(frame: Uint8Array): OutputFrame | null {
  if (frame.length < OUTPUT_HEAD_BYTES || frame[0] !== OUTPUT_TAG) return null;
  const stream = frame[1] === 1 ? "stdout" : frame[1] === 2 ? "stderr" : null;
  if (stream === null) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const generation = Number(view.getBigUint64(18));
  const sequence = Number(view.getBigUint64(26));
  const timestamp = Number(view.getBigUint64(34));
  // Beyond 2^53 numbers would silently run together.
  if (!Number.isSafeInteger(generation) || !Number.isSafeInteger(sequence)) return null;
  return {
    processId: uuidText(frame.subarray(2, 18)),
    id: { generation, sequence },
    stream,
    timestamp,
    bytes: frame.subarray(OUTPUT_HEAD_BYTES),
  };
}

/** An input frame, or null when `processId` is no UUID. */
export function encodeInput(processId: string, seq: number, bytes: Uint8Array): Uint8Array | null {
  const uuid = uuidBytes(processId);
  if (uuid === null) return null;
  const frame = new Uint8Array(INPUT_HEAD_BYTES + bytes.length);
  frame[0] = INPUT_TAG;
  frame.set(uuid, 1);
  new DataView(frame.buffer).setBigUint64(17, BigInt(seq));
  frame.set(bytes, INPUT_HEAD_BYTES);
  return frame;
}

/** A UUID's 16 bytes, or null when it is none. */
export function uuidBytes(text: string): Uint8Array | null {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return null;
  const digits = text.replaceAll("-", "");
  return Uint8Array.from({ length: 16 }, (_, at) => Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16));
}

/** Sixteen bytes as a UUID in lower case. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
