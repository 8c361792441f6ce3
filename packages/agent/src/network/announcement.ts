import { readFile } from 'node:fs/promises';
import { runCommand } from '../system/run-command.js';
import { groupsOf, versionOf } from './address.js';

/** How often it is said, a second apart: a single frame may get lost. */
const times = 3;

/**
 * Sends whole frames by a packet socket, which Node does not have; perl-base is part of every Debian. Words: index of the device, times, frame in
 * hexadecimal digits. The address that a packet socket takes is `struct sockaddr_ll` (packet(7)).
 */
const sender = `use Socket; my ($device, $times, $hex) = @ARGV; my $frame = pack("H*", $hex);
socket(my $socket, 17, SOCK_RAW, 0) or die "$!\\n";
for (1 .. $times) { send($socket, $frame, 0, pack("S n l S C C a8", 17, 0, $device, 0, 0, 6, substr($frame, 0, 6))) or die "$!\\n"; sleep 1 if $_ < $times; }`;

/**
 * Tells the neighbours on a device of this host that an address is here now, so that none goes on sending to where it was: a gratuitous ARP
 * request (RFC 5227), or an unsolicited neighbour advertisement that overrides (RFC 4861). Takes some seconds.
 */
export async function announceAddress(address: string, device: string): Promise<void> {
  const read = async (name: string) => (await readFile(`/sys/class/net/${device}/${name}`, 'utf8')).trim();
  const [mac, index] = [await read('address'), await read('ifindex')];
  await runCommand('perl', ['-e', sender, index, String(times), announcementFrame(address, mac).toString('hex')], { timeoutMs: 10_000 });
}

/** The whole Ethernet frame. */
export function announcementFrame(address: string, mac: string): Buffer {
  const own = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if (versionOf(address) === 4) {
    const here = Buffer.from(address.split('.').map(Number));
    return Buffer.concat([
      Buffer.from('ffffffffffff', 'hex'),
      own,
      Buffer.from('08060001080006040001', 'hex'),
      own,
      here,
      Buffer.alloc(6),
      here,
    ]);
  }
  const here = octetsOf(address);
  const everybody = octetsOf('ff02::1');
  // Type 136 with the override flag, the target, and its link-layer address as option 2.
  const said = Buffer.concat([Buffer.from('8800000020000000', 'hex'), here, Buffer.from('0201', 'hex'), own]);
  said.writeUInt16BE(checksum(Buffer.concat([here, everybody, Buffer.from([0, 0, 0, said.length, 0, 0, 0, 58]), said])), 2);
  const header = Buffer.from([0x60, 0, 0, 0, 0, said.length, 58, 255]);
  return Buffer.concat([Buffer.from('333300000001', 'hex'), own, Buffer.from('86dd', 'hex'), header, here, everybody, said]);
}

function octetsOf(address: string): Buffer {
  return Buffer.from(groupsOf(address).flatMap((group) => [group >> 8, group & 0xff]));
}

/** Of the internet protocols (RFC 1071), over an even number of octets. */
function checksum(octets: Buffer): number {
  let sum = 0;
  for (let at = 0; at < octets.length; at += 2) sum += octets.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
