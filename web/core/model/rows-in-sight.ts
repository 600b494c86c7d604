/** Which rows of a long list are drawn. */

/** So many screens above and below are drawn too, so that scrolling never shows a gap. */
const SCREENS_BEYOND = 0.5;

export interface Sight {
  readonly rows: number;
  /** All rows have this height, in pixels. */
  readonly rowHeight: number;
  readonly scrollTop: number;
  readonly viewHeight: number;
  /** The row that has the focus or would get it: drawn wherever it is, or the keyboard would lose its place. -1: none. */
  readonly pinned: number;
}

/** The numbers of the rows to draw, rising. */
export function rowsInSight(sight: Sight): number[] {
  const beyond = Math.ceil((sight.viewHeight * SCREENS_BEYOND) / sight.rowHeight);
  const first = Math.max(0, Math.floor(sight.scrollTop / sight.rowHeight) - beyond);
  const end = Math.min(sight.rows, Math.ceil((sight.scrollTop + sight.viewHeight) / sight.rowHeight) + beyond);
  const drawn: number[] = [];
  for (let at = first; at < end; at += 1) drawn.push(at);
  const { pinned } = sight;
  if (pinned < 0 || pinned >= sight.rows) return drawn;
  if (drawn.length === 0 || pinned < first) drawn.unshift(pinned);
  else if (pinned >= end) drawn.push(pinned);
  return drawn;
}

/** Where to scroll to so that row `at` is seen whole; `scrollTop` itself when it is. */
export function scrollTo(at: number, sight: Sight): number {
  const top = at * sight.rowHeight;
  const highest = top + sight.rowHeight - sight.viewHeight;
  return Math.max(0, Math.min(top, Math.max(highest, sight.scrollTop)));
}
