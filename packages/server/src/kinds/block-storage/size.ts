const gigabyte = 1_000_000_000;
const mebibyte = 1_048_576;

/** Bytes of a disk of so many GB (10⁹ bytes), rounded up to whole MiB, which every site can make. */
export function blockStorageBytes(sizeGB: number): number {
  return Math.ceil((sizeGB * gigabyte) / mebibyte) * mebibyte;
}
