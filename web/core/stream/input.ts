/**
 * What was typed and is not yet acknowledged, per process. Numbers rise by one and outlive sockets, so what is sent
 * again after a reconnect counts once.
 */

/** A paste is cut into pieces of this size, in bytes. */
const PIECE_BYTES = 16 * 1024;
/** Keystrokes are pipelined up to this many unacknowledged bytes; a large piece travels alone. */
const PIPELINE_BYTES = 4 * 1024;
/** More than this waiting is refused: the program does not read. */
const QUEUE_BYTES = 4 * 1024 * 1024;

export interface InputPiece {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export class InputQueue {
  #next = 1;
  #pieces: InputPiece[] = [];
  /** How many of the pieces are on their way. */
  #sent = 0;
  #bytes = 0;
  /** A piece was refused: nothing goes out until `rewind`. */
  #held = false;

  /** Takes what was typed; false when there is no room for it. */
  push(bytes: Uint8Array): boolean {
    if (this.#bytes + bytes.length > QUEUE_BYTES) return false;
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      this.#pieces.push({ seq: this.#next, bytes: bytes.subarray(at, at + PIECE_BYTES) });
      this.#next += 1;
    }
    this.#bytes += bytes.length;
    return true;
  }

  /** The pieces that may go out now. A large piece waits for all before it: a paste never fills what is under way. */
  takeSendable(): InputPiece[] {
    if (this.#held) return [];
    const out: InputPiece[] = [];
    let flying = this.#pieces.slice(0, this.#sent).reduce((sum, piece) => sum + piece.bytes.length, 0);
    for (const piece of this.#pieces.slice(this.#sent)) {
      if (flying > 0 && flying + piece.bytes.length > PIPELINE_BYTES) break;
      flying += piece.bytes.length;
      out.push(piece);
    }
    this.#sent += out.length;
    return out;
  }

  /** Everything up to `seq` was taken. */
  acknowledge(seq: number): void {
    const kept = this.#pieces.filter((piece) => piece.seq > seq);
    this.#sent = Math.max(0, this.#sent - (this.#pieces.length - kept.length));
    this.#pieces = kept;
    this.#bytes = kept.reduce((sum, piece) => sum + piece.bytes.length, 0);
    // Another life of this page may have used the numbers up to here.
    if (kept.length === 0) this.#next = Math.max(this.#next, seq + 1);
  }

  /** The agent had no room for a piece. False if that was known: all pieces that are on their way are refused alike. */
  refuse(): boolean {
    const first = !this.#held;
    this.#held = true;
    return first;
  }

  /** Nothing is on its way any more: the socket is a new one, or what was refused is tried again. */
  rewind(): void {
    this.#sent = 0;
    this.#held = false;
  }

  clear(): void {
    this.#pieces = [];
    this.#bytes = 0;
    this.rewind();
  }
}
