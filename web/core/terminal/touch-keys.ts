/** The keys that an on-screen keyboard lacks, as the text that a terminal sends for them. */

export type TouchKey = "escape" | "tab" | "left" | "up" | "down" | "right" | "interrupt";

const ESCAPE = "\x1b";
const ARROWS = { left: "D", up: "A", down: "B", right: "C" } as const;
/** Behind the escape: an arrow as a terminal writes it, in either cursor mode. */
const ARROW = /^[[O]([ABCD])$/;
/** What Ctrl makes of keys that are no letters. */
const SIGNS: Readonly<Record<string, string>> = { " ": "\0", "/": "\x1f", "?": "\x7f" };

/** Whether a key goes on while it is held. */
export function repeats(key: TouchKey): boolean {
  return key in ARROWS;
}

/** What `key` sends. A program that fills the screen may ask for the application's arrows. */
export function touchKey(key: TouchKey, applicationCursor: boolean): string {
  switch (key) {
    case "escape":
      return ESCAPE;
    case "tab":
      return "\t";
    case "interrupt":
      return "\x03";
    case "left":
    case "up":
    case "down":
    case "right":
      return `${ESCAPE}${applicationCursor ? "O" : "["}${ARROWS[key]}`;
  }
}

/**
 * What a terminal's text becomes when Ctrl was pressed before it; itself where Ctrl means nothing to it. Null where no
 * key was pressed (the terminal answered a program, told it of the mouse or the focus, pasted): Ctrl waits on.
 */
export function afterCtrl(text: string): string | null {
  if (text.startsWith(ESCAPE) && text !== ESCAPE) {
    const arrow = ARROW.exec(text.slice(1))?.[1];
    return arrow === undefined ? null : `${ESCAPE}[1;5${arrow}`;
  }
  if (/^[@-_a-z]$/.test(text)) return String.fromCharCode(text.charCodeAt(0) & 0x1f);
  return SIGNS[text] ?? text;
}
