/** What a close code asks for. */

export type CloseVerdict =
  /** Try again, with a fresh token. */
  | "reconnect"
  /** The caller's access changed: look at the workspace before anything else. */
  | "access_changed"
  /** This sandbox is over; the workspace may have another one. */
  | "sandbox_gone";

export function closeVerdict(code: number): CloseVerdict {
  switch (code) {
    case 4403:
      return "access_changed";
    case 4404:
    case 4410:
      return "sandbox_gone";
    default:
      // 4401 (a token too old), 4408 (slept through the heartbeat), 1012 (the node restarts), 1006 (the network), 1009.
      return "reconnect";
  }
}
