/** An output event's id: `<generation>-<sequence>`, ordered and gap-free per process. */

export interface EventId {
  readonly generation: number;
  readonly sequence: number;
}

/** Stands before the first event, which is `0-1`. */
export const ZERO: EventId = { generation: 0, sequence: 0 };

const FORM = /^(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})$/;

/** The id that `text` writes, or null when it writes none that this page can count with. */
export function parseId(text: unknown): EventId | null {
  const match = typeof text === "string" ? FORM.exec(text) : null;
  if (match === null) return null;
  const id = { generation: Number(match[1]), sequence: Number(match[2]) };
  return Number.isSafeInteger(id.generation) && Number.isSafeInteger(id.sequence) ? id : null;
}

export function formatId(id: EventId): string {
  return `${id.generation}-${id.sequence}`;
}

/** Negative when `a` comes before `b`, 0 when they are the same, positive after. */
export function compareIds(a: EventId, b: EventId): number {
  return a.generation - b.generation || a.sequence - b.sequence;
}

export function isAfter(a: EventId, b: EventId): boolean {
  return compareIds(a, b) > 0;
}
