/** How far a process's output has come to this page, and how much of it is shown. */

import { compareIds, type EventId, isAfter, ZERO } from "./event-id.ts";

/** An ack goes out for every so many bytes shown; it must stay well below the server's window of 100 KiB. */
export const ACK_BYTES = 5 * 1024;

export type Arrival = "next" | "duplicate" | "gap";

export class Cursor {
  #seen: EventId = ZERO;
  #gapAt: EventId | null = null;
  #unacked = 0;

  /** The last event taken: where a resume goes on. */
  get seen(): EventId {
    return this.#seen;
  }

  /** Takes event `id`, and says whether it is the one that was due. Only `next` moves the cursor. */
  arrive(id: EventId): Arrival {
    if (!isAfter(id, this.#seen)) return "duplicate";
    // The sequence goes on by one even where the generation rises; after a loss it may go on before what was seen.
    const due = this.#seen.sequence + 1;
    if (id.sequence > due || (id.sequence < due && id.generation === this.#seen.generation)) return "gap";
    this.#seen = id;
    return "next";
  }

  /** Whether a gap was already met at this very place: then asking again does not help. */
  gapMetBefore(): boolean {
    const before = this.#gapAt !== null && compareIds(this.#gapAt, this.#seen) === 0;
    this.#gapAt = this.#seen;
    return before;
  }

  /** Moves to `id` without its output: a truncated range, or output that nobody looks at. Never backwards. */
  skipTo(id: EventId): void {
    if (isAfter(id, this.#seen)) this.#seen = id;
  }

  /** Starts over from the first event. */
  reset(): void {
    this.#seen = ZERO;
    this.#gapAt = null;
    this.#unacked = 0;
  }

  /** A new socket counts its window from the resume. */
  newSocket(): void {
    this.#unacked = 0;
  }

  /** Counts bytes as shown; true when an ack is due. */
  shown(bytes: number): boolean {
    this.#unacked += bytes;
    if (this.#unacked < ACK_BYTES) return false;
    this.#unacked = 0;
    return true;
  }
}
