import { expect, it } from "vitest";
import { commandTitle, runCommandFor } from "./command.ts";

it("puts the open file into the run command, quoted where it must be", () => {
  expect(runCommandFor("python3 {file}", "/src/main.py")).toBe("python3 src/main.py");
  expect(runCommandFor("python3 {file}", "/it's $HOME.py")).toBe("python3 'it'\\''s $HOME.py'");
  expect(runCommandFor("sh {file}", "/-x.sh")).toBe("sh ./-x.sh");
  expect(runCommandFor("sh {file}", "/$&.sh")).toBe("sh '$&.sh'");
  expect(runCommandFor("python3 {file}", null)).toBeNull();
  expect(runCommandFor("cargo run", null)).toBe("cargo run");
});

it("shows a command on one line", () => {
  expect(commandTitle(["bash", "-c", "echo a b"])).toBe("bash -c 'echo a b'");
  expect(commandTitle("a\n  b")).toBe("a b");
});
