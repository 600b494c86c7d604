import { uuidOf } from "../core/uuid.ts";

/** A random UUID. The browser's own `randomUUID` is only there over https and on localhost. */
export function uuid(): string {
  return uuidOf(crypto.getRandomValues(new Uint8Array(16)));
}
