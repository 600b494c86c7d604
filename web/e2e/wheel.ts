/** A Python package made on the spot: a wheel is a zip of three small files. */

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

export const PACKAGE = "playhouse-demo";
export const WHEEL = "playhouse_demo-1.0-py3-none-any.whl";

/** The wheel's bytes; its module says `answer = 42`. */
export function wheel(): Buffer {
  const info = "playhouse_demo-1.0.dist-info";
  const files: [string, string][] = [
    ["playhouse_demo.py", "answer = 42\n"],
    [`${info}/METADATA`, `Metadata-Version: 2.1\nName: ${PACKAGE}\nVersion: 1.0\n`],
    [`${info}/WHEEL`, "Wheel-Version: 1.0\nGenerator: playhouse\nRoot-Is-Purelib: true\nTag: py3-none-any\n"],
  ];
  const record = files.map(([name, text]) => {
    const digest = createHash("sha256").update(text).digest("base64url");
    return `${name},sha256=${digest},${Buffer.byteLength(text)}\n`;
  });
  return zip([...files, [`${info}/RECORD`, `${record.join("")}${info}/RECORD,,\n`]]);
}

/** An archive of stored, uncompressed files. */
function zip(files: [string, string][]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of files) {
    const data = Buffer.from(text);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(0x21, 8); // 1 January 1980: a date of zero is none
    fields.writeUInt32LE(crc32(data), 10);
    fields.writeUInt32LE(data.length, 14);
    fields.writeUInt32LE(data.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, Buffer.from(name), data]);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), fields, entry, Buffer.from(name)]));
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
