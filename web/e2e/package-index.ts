/** A package index of one package, over https with a certificate of its own. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { PACKAGE, WHEEL, wheel } from "./wheel.ts";

export const INDEX_HOST = "pypi.playhouse.test";

export interface PackageIndex {
  port: number;
  /** How often the wheel was fetched. */
  downloads(): number;
  close(): void;
}

export async function startPackageIndex(directory: string): Promise<PackageIndex> {
  const key = join(directory, "index-key.pem");
  const certificate = join(directory, "index.pem");
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", `/CN=${INDEX_HOST}`, "-addext", `subjectAltName=DNS:${INDEX_HOST}`],
      ...["-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  const bytes = wheel();
  const digest = createHash("sha256").update(bytes).digest("hex");
  let downloads = 0;
  const server: Server = createServer(
    { key: readFileSync(key), cert: readFileSync(certificate) },
    (request, answer) => {
      if (request.url === `/simple/${PACKAGE}/`) {
        answer.setHeader("content-type", "text/html");
        answer.end(`<!doctype html><a href="/files/${WHEEL}#sha256=${digest}">${WHEEL}</a>`);
      } else if (request.url === `/files/${WHEEL}`) {
        downloads += 1;
        answer.end(bytes);
      } else {
        answer.statusCode = 404;
        answer.end();
      }
    },
  );
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as AddressInfo).port,
    downloads: () => downloads,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
