import { expect, it } from 'vitest';
import { announcementFrame } from './announcement.js';

const mac = '02:11:22:33:44:55';

it('asks everybody for the own IPv4 address, from the own MAC', () => {
  expect(announcementFrame('203.0.113.7', mac).toString('hex')).toBe(
    ['ffffffffffff', '021122334455', '0806', '0001080006040001', '021122334455', 'cb007107', '000000000000', 'cb007107'].join(''),
  );
});

it('advertises an IPv6 address to all nodes, overriding what they knew, with a checksum that adds up', () => {
  const frame = announcementFrame('2001:db8::7', mac);
  expect(frame.subarray(0, 14).toString('hex')).toBe('33330000000102112233445586dd');
  const [payload, next, hops] = [frame.readUInt16BE(18), frame[20], frame[21]];
  expect([payload, next, hops]).toEqual([32, 58, 255]);
  expect(frame.subarray(22, 38).toString('hex')).toBe('20010db8000000000000000000000007');
  expect(frame.subarray(38, 54).toString('hex')).toBe('ff020000000000000000000000000001');
  const said = frame.subarray(54);
  expect(said.length).toBe(payload);
  expect([said[0], said[4]]).toEqual([136, 0x20]);
  expect(said.subarray(8, 24)).toEqual(frame.subarray(22, 38));
  expect(said.subarray(24).toString('hex')).toBe('0201021122334455');
  const pseudo = Buffer.concat([frame.subarray(22, 54), Buffer.from([0, 0, 0, payload, 0, 0, 0, 58]), said]);
  let sum = 0;
  for (let at = 0; at < pseudo.length; at += 2) sum += pseudo.readUInt16BE(at);
  expect((sum & 0xffff) + (sum >>> 16)).toBe(0xffff);
});
