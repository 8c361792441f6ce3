import type { Draft } from '@virt8ra/client';
import type { Address, Kind } from '@virt8ra/contract';

/** One document as it was read, not yet checked. */
export interface RawDocument {
  /** File name, or `standard input`. */
  readonly source: string;
  readonly value: unknown;
  /** Line of the deepest part that a JSON pointer reaches. */
  lineOf(pointer: string): number;
}

/** A checked document: what to write, and where. */
export interface ManifestDocument {
  readonly raw: RawDocument;
  readonly kind: Kind;
  readonly address: Address;
  readonly draft: Draft;
}

/** A fault of a document, with its place. */
export interface DocumentFault {
  readonly source: string;
  readonly line: number;
  readonly pointer: string;
  readonly message: string;
}
