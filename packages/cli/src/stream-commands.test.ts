import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { endedBecause, Problem } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home, type RunningCli } from './testing/run-cli.js';
import { startTestStreams, type TestStreams } from './testing/test-streams.js';

let streams: TestStreams;
let home: Home;
const running: RunningCli[] = [];

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  streams = await startTestStreams();
  home = createHome({ url: streams.url, token: 'secret-token' });
});
afterEach(async () => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL');
  await streams.stop();
  home.remove();
});

const shellWords = (command: readonly string[]) => command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
/** On a terminal of its own, whose settings are printed when the command has ended. */
const through = (command: readonly string[]) => ['script', '-qec', `${shellWords(command)}; echo "status $?"; stty -a`, '/dev/null'];
const start = (words: readonly string[], options: Parameters<Home['start']>[1] = {}): RunningCli => {
  const cli = home.start(words, { interactive: true, ...options });
  running.push(cli);
  return cli;
};
const onTerminal = (words: readonly string[]) => start(words, { through, variables: { TERM: 'xterm' } });
const type = (cli: RunningCli, keys: string) => void cli.child.stdin?.write(keys);

describe('console', () => {
  it('is a raw terminal: every key goes to the guest, what it says comes back as it is, and ~. gives the terminal back', async () => {
    const cli = onTerminal(['console', 'web']);
    const stream = await streams.next();
    expect(stream).toMatchObject({ place: 'console?write=free', authorization: 'Bearer secret-token' });
    await cli.printed('console of web; ~. at the beginning of a line ends it');
    stream.say('guest# ');
    await cli.printed('guest# ');
    // The interrupt, the end of file and the stop are the guest's.
    type(cli, 'ls\u0003\u0004\u001a\r');
    await stream.until('ls\u0003\u0004\u001a\r');
    type(cli, '~?');
    await cli.printed('~~ sends a ~');
    type(cli, '~.');
    expect(await stream.ended).toMatchObject({ code: 'closed' });
    await cli.printed('status 0');
    const { out } = await cli.finished;
    expect(out).toMatch(/ icanon/);
    expect(out).toMatch(/ echo /);
    expect(stream.text).toBe('ls\u0003\u0004\u001a\r');
    expect(streams.paths.join()).not.toContain('secret-token');
  });

  it('comes back by itself after a move, and says so', async () => {
    const cli = onTerminal(['console', 'instance/web', '--take']);
    const first = await streams.next();
    expect(first.place).toBe('console?write=take');
    streams.refusal = new Problem('unavailable', 'instance web is between two hosts at the moment', { retryAfterSeconds: 0 });
    first.carrier.end(endedBecause('moved', 'the instance moves to another host'));
    await cli.printed('[the instance moves to another host]');
    await expect.poll(() => streams.paths.length).toBeGreaterThan(2);
    streams.refusal = undefined;
    const second = await streams.next();
    // What was taken once is not taken from somebody else later.
    expect(second.place).toBe('console?write=free');
    type(cli, 'uptime\r');
    await second.until('uptime\r');
    second.carrier.end(endedBecause('stopped', 'the instance was stopped'));
    await cli.printed('[the instance was stopped]');
    await cli.printed('status 0');
  });

  it('tells a watcher who writes, what was missed and how to take over, and writes when it is its turn', async () => {
    streams.opened = { writer: false, others: [{ by: 'ann', writer: true }] };
    const cli = onTerminal(['console', 'web']);
    const stream = await streams.next();
    await cli.printed('you watch, ann writes; also here: ann; --take takes the writing over');
    stream.carrier.send({ type: 'missed', octets: 4096 });
    await cli.printed('4096 octets of output were left out');
    stream.carrier.send({ type: 'unheard' });
    await cli.printed('what you type is not heard');
    stream.carrier.send({ type: 'said', event: 'left', by: 'ann' });
    stream.carrier.send({ type: 'said', event: 'writes', by: 'bob', you: true });
    await cli.printed('you write now');
    type(cli, '~.');
    await cli.printed('status 0');
  });

  it('reads nothing with --read-only, and takes what is typed from a pipe otherwise', async () => {
    const watching = start(['console', 'web', '--read-only']);
    const stream = await streams.next();
    expect(stream.place).toBe('console?write=no');
    stream.say('output\n');
    await watching.printed('output');
    type(watching, 'nothing\n');
    watching.child.kill('SIGINT');
    expect(await watching.finished).toMatchObject({ code: 0, out: 'output\n' });
    expect(stream.text).toBe('');
    const piped = start(['console', 'web'], { interactive: false, stdin: 'halt\n' });
    const other = await streams.next();
    await other.until('halt\n<end>');
    other.carrier.end(endedBecause('stopped', 'the guest switched itself off'));
    expect(await piped.finished).toMatchObject({ code: 0, out: '', err: expect.stringContaining('[the guest switched itself off]') });
  });

  it('prints the kept log', async () => {
    expect(await home.run(['console', 'web', '--log'])).toMatchObject({ code: 0, out: 'kept\r\noutput\n', err: '' });
    expect(await home.run(['console', 'none', '--log'])).toMatchObject({ code: 4, err: expect.stringContaining('no such instance') });
  });

  it('ends with the code of what refused it', async () => {
    streams.refusal = new Problem('conflict', 'the instance does not run: it is stopped');
    expect(await home.run(['console', 'web'])).toMatchObject({ code: 5, err: expect.stringContaining('it is stopped') });
    streams.refusal = new Problem('forbidden', 'ann may not use tenant t');
    expect((await home.run(['console', 'web'])).code).toBe(3);
    expect((await home.run(['console', 'web', '--take', '--read-only'])).code).toBe(2);
  });
});

describe('port-forward', () => {
  const addressOf = async (cli: RunningCli, what: string): Promise<number> => {
    await cli.printed(what);
    return Number(/127\.0\.0\.1:(\d+)/.exec(await printedLine(cli, what))?.[1]);
  };
  const printedLine = async (cli: RunningCli, what: string): Promise<string> => {
    await cli.printed(what);
    return cli.said().find((line) => line.includes(what)) ?? '';
  };

  it('leads each connection to a stream of its own, in both directions and with both ends', async () => {
    const cli = start(['port-forward', 'web', '0:80', '0:22']);
    const port = await addressOf(cli, 'leads to port 80 of web');
    await cli.printed('leads to port 22 of web');
    const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    client.on('data', (octets) => {
      text += octets.toString();
    });
    client.write('GET / HTTP/1.0\r\n\r\n');
    client.end();
    const stream = await streams.next();
    expect(stream.place).toBe('ports/80');
    await stream.until('GET / HTTP/1.0\r\n\r\n<end>');
    stream.say('page');
    stream.carrier.send({ type: 'end' });
    stream.carrier.end(endedBecause('done', ''));
    await once(client, 'close');
    expect(text).toBe('page');
    cli.child.kill('SIGINT');
    expect((await cli.finished).code).toBe(0);
  });

  it('carries much without losing or keeping it, with a slow reader at either end', async () => {
    const bytes = 24 * 1024 * 1024;
    streams.play = ({ carrier }) => {
      let left = bytes;
      const more = (): void => {
        if (left === 0) {
          carrier.send({ type: 'end' });
          return;
        }
        const piece = Buffer.alloc(Math.min(left, 64 * 1024), left % 251);
        left -= piece.length;
        carrier.send(piece, more);
      };
      more();
    };
    const cli = start(['port-forward', 'web', '0:80']);
    const port = await addressOf(cli, 'leads to port 80 of web');
    const client = connect({ port, host: '127.0.0.1' });
    let received = 0;
    for await (const octets of client) {
      received += (octets as Buffer).length;
      if (received % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(received).toBe(bytes);
  });

  it('tells on standard error what a connection was refused with, and goes on', async () => {
    const cli = start(['port-forward', 'web', '0:81']);
    const port = await addressOf(cli, 'leads to port 81 of web');
    streams.refusal = new Problem('unavailable', 'port 81 of the guest cannot be reached: nothing listens there');
    const client = connect(port, '127.0.0.1');
    client.on('error', () => {});
    await new Promise((resolve) => client.on('close', resolve));
    await cli.printed('port 81 of web: port 81 of the guest cannot be reached: nothing listens there');
    streams.refusal = undefined;
    const again = connect(port, '127.0.0.1');
    again.on('error', () => {});
    await streams.next();
    again.destroy();
  });

  it.each([
    [[], 2],
    [['x:80'], 2],
    [['1:2:3'], 2],
    [['0:70000'], 2],
    [['--stdio', '22', '80'], 2],
  ])('refuses %j', async (words, code) => {
    expect((await home.run(['port-forward', 'web', ...words])).code).toBe(code);
  });

  it('says that there is no such instance, and that a port is taken', async () => {
    expect((await home.run(['port-forward', 'none', '0:80'])).code).toBe(4);
    const taken = new URL(streams.url).port;
    expect(await home.run(['port-forward', 'web', `${taken}:80`])).toMatchObject({ code: 8, err: expect.stringContaining('it is taken') });
  });

  it('joins standard input and output for a proxy command', async () => {
    const cli = start(['port-forward', 'web', '--stdio', '22']);
    const stream = await streams.next();
    expect(stream.place).toBe('ports/22');
    stream.say('SSH-2.0-guest\r\n');
    await cli.printed('SSH-2.0-guest');
    cli.child.stdin?.end('SSH-2.0-client\r\n');
    await stream.until('SSH-2.0-client\r\n<end>');
    stream.carrier.send({ type: 'end' });
    expect((await cli.finished).code).toBe(0);
  });
});

describe('ssh', () => {
  it('runs ssh through the port’s stream, with what was asked and its exit code, and no token in sight', async () => {
    const bin = join(home.folder, 'bin');
    mkdirSync(bin);
    // Stands for ssh: tells its words and runs the proxy command as it would.
    writeFileSync(
      join(bin, 'ssh'),
      '#!/bin/sh\nprintf "word %s\\n" "$@"\nproxy=$(printf "%s\\n" "$@" | sed -n s/^ProxyCommand=//p)\necho hello | sh -c "$proxy"\nexit 7\n',
    );
    chmodSync(join(bin, 'ssh'), 0o755);
    streams.play = (stream) => {
      void stream.until('hello\n<end>').then(() => {
        stream.say('SSH-2.0-guest\n');
        stream.carrier.send({ type: 'end' });
      });
    };
    const variables = { PATH: `${bin}:${process.env['PATH']}` };
    const done = await home.run(['ssh', 'web', '-l', 'root', '-p', '2222', '--', '-v', 'uptime'], { variables });
    expect(done.code).toBe(7);
    expect(done.out).toContain('word HostKeyAlias=web.w.t.virt8ra\n');
    expect(done.out).toContain('word -l\nword root\nword web\nword -v\nword uptime\n');
    expect(done.out).toContain('SSH-2.0-guest\n');
    expect(done.out).not.toContain('secret-token');
    expect(streams.paths.at(-1)).toMatch(/\/web\/ports\/2222$/);
  });
});

describe('vnc', () => {
  it('offers the screen on a local port until interrupted', async () => {
    const cli = start(['vnc', 'web']);
    // It looks first.
    expect(await (await streams.next()).ended).toMatchObject({ code: 'closed' });
    await cli.printed('127.0.0.1:');
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(cli.said().join('\n'))?.[1]);
    const viewer = connect(port, '127.0.0.1');
    const stream = await streams.next();
    expect(stream.place).toBe('vnc');
    stream.say('RFB 003.008\n');
    expect(String((await once(viewer, 'data'))[0])).toBe('RFB 003.008\n');
    cli.child.kill('SIGINT');
    expect((await cli.finished).code).toBe(0);
  });

  it('says when there is none', async () => {
    streams.refusal = new Problem('unsupported', 'the guest has no graphics');
    expect(await home.run(['vnc', 'web'])).toMatchObject({ code: 2, err: expect.stringContaining('no graphics') });
  });
});
