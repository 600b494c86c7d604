/** The path rules of a workspace's tree: absolute, in normal form, bounded. The server checks them again. */

const PATH_BYTES = 4096;
const NAME_BYTES = 255;

/** How many bytes `text` is in UTF-8; lone surrogates count as the U+FFFD they become. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

/** Why `path` can't name a file, in words, or null when it can. */
export function pathError(path: string): string | null {
  if (!path.startsWith("/")) return "A path begins with “/”.";
  if (path === "/") return "The path names the workspace itself.";
  if (path.includes("\0")) return "A path has no NUL.";
  if (utf8Length(path) > PATH_BYTES) return `A path has at most ${PATH_BYTES} bytes.`;
  for (const name of path.slice(1).split("/")) {
    if (name === "") return "A path has no “//” and does not end with “/”.";
    if (name === "." || name === "..") return "A path has no “.” or “..”.";
    if (utf8Length(name) > NAME_BYTES) return `A name has at most ${NAME_BYTES} bytes.`;
  }
  return null;
}

/** What a person typed as a path below `directory`, made absolute. */
export function resolve(directory: string, typed: string): string {
  const trimmed = typed.trim();
  return trimmed.startsWith("/") ? trimmed : join(directory, trimmed);
}

/** `name` within `directory`, where `/` is the root. */
export function join(directory: string, name: string): string {
  return directory === "/" ? `/${name}` : `${directory}/${name}`;
}

/** The directory a path lies in; the root for what lies in the root. */
export function parent(path: string): string {
  const cut = path.lastIndexOf("/");
  return cut <= 0 ? "/" : path.slice(0, cut);
}

/** A path's last component. */
export function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The part after the last dot of the name, in lower case; empty where there is none. */
export function extension(path: string): string {
  const name = basename(path);
  const dot = name.lastIndexOf(".");
  return dot <= 0 ? "" : name.slice(dot + 1).toLowerCase();
}

/** Whether `path` is `prefix` or lies below it. `/` holds everything. */
export function isWithin(path: string, prefix: string): boolean {
  return prefix === "/" || path === prefix || path.startsWith(`${prefix}/`);
}

/** Where `path` is after `from` became `to`; itself when it does not lie there. */
export function rebase(path: string, from: string, to: string): string {
  return isWithin(path, from) ? to + path.slice(from.length) : path;
}

/** A name inside a multipart `filename` or a shell path: the path without its leading slash. */
export function relative(path: string): string {
  return path.replace(/^\/+/, "");
}

/** The part of a path up to the first component that is one of `folders`, the generated ones; null without any. */
export function generatedPart(path: string, folders: readonly string[]): string | null {
  const names = path.split("/");
  const at = names.findIndex((name) => folders.includes(name));
  return at < 0 ? null : names.slice(0, at + 1).join("/");
}
