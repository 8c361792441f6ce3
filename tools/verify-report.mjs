// node tools/verify-report.mjs REPORT: says what in a report of `npm run demo` is not as promised; exit code 1 when anything is.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const longestPauseMs = 1000;
const longestLiveGapMs = 2000;

/** One line per broken promise; none when the report is good. */
export function broken(report) {
  const findings = [];
  const expect = (holds, finding) => {
    if (!holds) findings.push(finding);
  };
  const moves = report.moves ?? [];
  const { killed, guest } = report;

  expect(new Set(report.sites).size === 3, `three sites are expected, not ${JSON.stringify(report.sites)}`);
  expect(guest?.bootId, 'no guest told its boot id');
  expect(guest?.bootSeconds > 0, "the guest's boot was not measured");
  for (const mode of ['warm', 'cold', 'live'])
    expect(
      moves.some((move) => move.mode === mode),
      `no ${mode} move was made`,
    );
  const there = moves.find((move) => move.way !== 'back' && move.mode === 'warm');
  const back = moves.find((move) => move.way === 'back');
  expect(back, 'no move was taken back');
  if (back && there)
    expect(
      back.bytes < there.bytes / 2,
      `the way back carried ${back.bytes} bytes, less than half of the ${there.bytes} of the way there are allowed`,
    );
  moves.forEach((move, index) => {
    const what = `move ${index + 1} (${move.mode}, ${move.from} to ${move.to})`;
    expect(move.digestEqual === true, `${what}: the disks differ`);
    expect(move.counterAfter >= move.counterBefore, `${what}: the counter went from ${move.counterBefore} to ${move.counterAfter}`);
    if (move.mode === 'live') {
      expect(move.sameBoot === true, `${what}: the guest was booted anew`);
      expect(move.gapMs <= longestLiveGapMs, `${what}: the client missed ${move.gapMs} ms, ${longestLiveGapMs} are allowed`);
      expect(move.writtenBytes > 0, `${what}: the guest has written nothing at the target`);
      expect(move.connectionSurvived !== false, `${what}: an open connection broke`);
    }
    if (move.mode !== 'cold')
      expect(
        typeof move.pauseMs === 'number' && move.pauseMs <= longestPauseMs,
        `${what}: paused ${move.pauseMs} ms, ${longestPauseMs} are allowed`,
      );
  });
  expect(killed, 'no move went through a kill of the server');
  if (killed) {
    const most = killed.chunkBytes * killed.streams;
    expect(killed.resentBytes <= most, `after the kill ${killed.resentBytes} bytes were sent again, ${most} are allowed`);
  }
  return findings;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const findings = broken(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')));
  for (const finding of findings) process.stdout.write(`report: ${finding}\n`);
  process.exit(findings.length > 0 ? 1 : 0);
}
