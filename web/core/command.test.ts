import { expect, it } from "vitest";
import { commandTitle, runCommandFor, wantedExtension } from "./command.ts";

it("puts the open file into the run command, quoted where it must be", () => {
  expect(runCommandFor("python3 {file}", "/src/main.py")).toBe("python3 src/main.py");
  expect(runCommandFor("python3 {file}", "/it's $HOME.py")).toBe("python3 'it'\\''s $HOME.py'");
  expect(runCommandFor("sh {file}", "/-x.sh")).toBe("sh ./-x.sh");
  expect(runCommandFor("sh {file}", "/$&.sh")).toBe("sh '$&.sh'");
  expect(runCommandFor("python3 {file}", null)).toBeNull();
  expect(runCommandFor("cargo run", null)).toBe("cargo run");
});

it("runs only what its interpreter can read", () => {
  expect(runCommandFor("python3 {file}", "/README.md")).toBeNull();
  expect(runCommandFor("python3 {file}", "/data.d/tool")).toBe("python3 data.d/tool");
  expect(runCommandFor("node {file}", "/a.MJS")).toBe("node a.MJS");
  expect(runCommandFor("sh {file}", "/.profile")).toBe("sh .profile");
  expect(runCommandFor("ruby {file}", "/a.txt")).toBe("ruby a.txt");
  expect([wantedExtension("go run {file}"), wantedExtension("ruby {file}")]).toEqual(["go", null]);
});

it("shows a command on one line", () => {
  expect(commandTitle(["bash", "-c", "echo a b"])).toBe("bash -c 'echo a b'");
  expect(commandTitle("a\n  b")).toBe("a b");
});
