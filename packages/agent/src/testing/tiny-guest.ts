import { createHash } from 'node:crypto';

/**
 * A guest of one sector, so that tests boot in milliseconds. It prints `B` on the first serial port, reads a counter from sector 8 of its boot disk and then, every
 * 20 ms: adds one to it, writes it to sector 8 and to sector 2048 + 16 × (counter mod 1024), and prints it as eight hexadecimal digits.
 * It ignores the power button. 16-bit code, BIOS int 0x13 functions 0x42 and 0x43 for the disk, int 0x15 function 0x86 for the pause.
 */
const code =
  'fa31c08ed88ec08ed0bc007cfb8816947cb042e86d00b00ae86800c706a07c0800b442e8510066ff060080c706a07c0800b443e84100a1008025ff03c1e00405' +
  '0008a3a07cb443e82d00668b1e0080b9080066c1c30488d8240f04303c3976020427e81e00e2ebb00ae81700b48631c9ba204ecd15ebaf30c0be987c8a16947c' +
  'cd13c35250bafd03eca82074fb58baf803ee5ac3008d740010000100008000000000000000000000';

export const tinyGuestBytes = 32 * 1024 * 1024;

/** A raw disk image of the guest. The rest is zeros, save a pattern from 20 MiB on that makes its content worth comparing. */
export function tinyGuestImage(): Buffer {
  const image = Buffer.alloc(tinyGuestBytes);
  Buffer.from(code, 'hex').copy(image);
  image.writeUInt16LE(0xaa55, 510);
  let block = createHash('sha256').update('virt8ra').digest();
  for (let at = 20 * 1024 * 1024; at < 22 * 1024 * 1024; at += block.length) {
    block.copy(image, at);
    block = createHash('sha256').update(block).digest();
  }
  return image;
}

/** The last counter that the guest printed; 0 before the first. */
export function counterFrom(serial: string): number {
  const lines = serial.split('\n').filter((line) => /^[0-9a-f]{8}$/.test(line));
  return Number.parseInt(lines.at(-1) ?? '0', 16);
}
