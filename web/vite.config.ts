import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import type { Plugin } from "vite";
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

/** Files smaller than this gain nothing from compression. */
const COMPRESS_FROM_BYTES = 1024;

/** Writes `.br` and `.gz` beside every text asset, so that the server never compresses while it serves. */
function precompress(): Plugin {
  return {
    name: "precompress",
    apply: "build",
    async closeBundle() {
      const root = join(import.meta.dirname, "dist");
      for (const name of await readdir(root, { recursive: true })) {
        if (!/\.(js|css|html|svg|json)$/.test(name)) continue;
        const bytes = await readFile(join(root, name));
        if (bytes.length < COMPRESS_FROM_BYTES) continue;
        await writeFile(join(root, `${name}.br`), await promisify(brotliCompress)(bytes));
        await writeFile(join(root, `${name}.gz`), await promisify(gzip)(bytes, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  plugins: [solid(), precompress()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Nothing is inlined as a data: URL, so the page works under `default-src 'self'`.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true }, "/login": "http://127.0.0.1:8080" } },
  test: { include: ["core/**/*.test.ts"], environment: "node" },
});
