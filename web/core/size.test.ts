import { expect, it } from "vitest";
import { sizeText } from "./size.ts";

it("says sizes as people do", () => {
  expect([0, 1, 1023, 1536, 104_857_600].map(sizeText)).toEqual([
    "0 bytes",
    "1 byte",
    "1023 bytes",
    "1.5 KiB",
    "100.0 MiB",
  ]);
});
