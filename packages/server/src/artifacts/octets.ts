/** What octets are read from by position: a file, or a part of one. */
export interface Octets {
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** A part of a file, as if it were one. Nothing outside of it is read. */
export interface FilePart {
  readonly offset: number;
  readonly bytes: number;
}

export function octetsOfPart(file: Octets, { offset, bytes }: FilePart): Octets {
  return {
    async read(buffer, at, length, position) {
      const left = Math.min(length, bytes - position);
      return left <= 0 ? { bytesRead: 0 } : await file.read(buffer, at, left, offset + position);
    },
  };
}
