import { expect, it } from "vitest";
import { afterCtrl, repeats, touchKey } from "./touch-keys.ts";

it("sends what the keys of a real keyboard send", () => {
  expect(touchKey("escape", false)).toBe("\x1b");
  expect(touchKey("tab", false)).toBe("\t");
  expect(touchKey("interrupt", false)).toBe("\x03");
  expect(touchKey("up", false)).toBe("\x1b[A");
  expect(touchKey("up", true)).toBe("\x1bOA");
});

it("repeats arrows, and nothing that does harm when it comes twice", () => {
  expect((["left", "up", "down", "right"] as const).every(repeats)).toBe(true);
  expect((["escape", "tab", "interrupt"] as const).some(repeats)).toBe(false);
});

it("gives letters and signs their control characters after Ctrl", () => {
  const typed = ["c", "C", "z", "@", "[", "\\", "]", "^", "_", " ", "/", "?"];
  const sent = ["\x03", "\x03", "\x1a", "\0", "\x1b", "\x1c", "\x1d", "\x1e", "\x1f", "\0", "\x1f", "\x7f"];
  expect(typed.map(afterCtrl)).toEqual(sent);
});

it("gives arrows Ctrl in both cursor modes", () => {
  expect(afterCtrl(touchKey("left", false))).toBe("\x1b[1;5D");
  expect(afterCtrl(touchKey("right", true))).toBe("\x1b[1;5C");
});

it("leaves keys and words as they are that Ctrl means nothing to", () => {
  for (const typed of ["1", "é", "ſ", "\r", "\t", "\x7f", "\x1b", "\x03", "ls"]) {
    expect(afterCtrl(typed), JSON.stringify(typed)).toBe(typed);
  }
});

it("keeps Ctrl for the next key when the terminal itself spoke", () => {
  for (const report of ["\x1b[?1;2c", "\x1b[I", "\x1b[<0;3;4M", "\x1b[200~c\x1b[201~"]) {
    expect(afterCtrl(report), JSON.stringify(report)).toBeNull();
  }
});
