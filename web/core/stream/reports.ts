/**
 * Answers that a terminal gives by itself to queries in the output: device attributes, cursor position, status, mode
 * and colour reports. When old output is replayed, its queries were answered long ago, and a second answer would be
 * typed into whatever reads now.
 */

const ESCAPE = "\x1b";
/** Behind the escape: CSI … c (attributes), R (position), n (status), $y (mode), t (window); OSC and DCS answers. */
const REPORT = /^(\[[?>=]?[\d;]*(c|R|n|\$y|t)|[\]P])/;

export function isReport(data: string): boolean {
  return data.startsWith(ESCAPE) && REPORT.test(data.slice(1));
}
