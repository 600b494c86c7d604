/** Which language a file is in, by its name. Each is loaded when the first such file is opened. */

import type { Extension } from "@codemirror/state";
import { basename, extension } from "../../core/paths.ts";

type Load = () => Promise<Extension>;

const python: Load = async () => (await import("@codemirror/lang-python")).python();
const rust: Load = async () => (await import("@codemirror/lang-rust")).rust();
const go: Load = async () => (await import("@codemirror/lang-go")).go();
const html: Load = async () => (await import("@codemirror/lang-html")).html();
const css: Load = async () => (await import("@codemirror/lang-css")).css();
const json: Load = async () => (await import("@codemirror/lang-json")).json();
const markdown: Load = async () => (await import("@codemirror/lang-markdown")).markdown();
const cpp: Load = async () => (await import("@codemirror/lang-cpp")).cpp();
const yaml: Load = async () => (await import("@codemirror/lang-yaml")).yaml();
const script =
  (typescript: boolean, jsx: boolean): Load =>
  async () =>
    (await import("@codemirror/lang-javascript")).javascript({ typescript, jsx });
const shell: Load = async () => {
  const [{ StreamLanguage }, mode] = await Promise.all([
    import("@codemirror/language"),
    import("@codemirror/legacy-modes/mode/shell"),
  ]);
  return StreamLanguage.define(mode.shell);
};
const toml: Load = async () => {
  const [{ StreamLanguage }, mode] = await Promise.all([
    import("@codemirror/language"),
    import("@codemirror/legacy-modes/mode/toml"),
  ]);
  return StreamLanguage.define(mode.toml);
};
const dockerfile: Load = async () => {
  const [{ StreamLanguage }, mode] = await Promise.all([
    import("@codemirror/language"),
    import("@codemirror/legacy-modes/mode/dockerfile"),
  ]);
  return StreamLanguage.define(mode.dockerFile);
};

const BY_EXTENSION: Readonly<Record<string, Load>> = {
  py: python,
  pyi: python,
  rs: rust,
  go,
  html,
  htm: html,
  svg: html,
  css,
  json,
  md: markdown,
  markdown,
  c: cpp,
  h: cpp,
  cc: cpp,
  cpp,
  hpp: cpp,
  yml: yaml,
  yaml,
  js: script(false, true),
  mjs: script(false, false),
  cjs: script(false, false),
  jsx: script(false, true),
  ts: script(true, false),
  mts: script(true, false),
  tsx: script(true, true),
  sh: shell,
  bash: shell,
  toml,
  lock: toml,
};

const BY_NAME: Readonly<Record<string, Load>> = {
  Dockerfile: dockerfile,
  ".bashrc": shell,
  ".profile": shell,
};

/** The language of `path`, or null for plain text. */
export function languageFor(path: string): Load | null {
  return BY_NAME[basename(path)] ?? BY_EXTENSION[extension(path)] ?? null;
}
