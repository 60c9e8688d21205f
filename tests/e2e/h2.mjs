// A provider that speaks HTTP/2: answers with the version that it was asked in, and how many
// connections it has seen.  Arguments: certificate, key.  Prints its port.
import { createSecureServer } from 'node:http2';
import { readFileSync } from 'node:fs';

let connections = 0;
const server = createSecureServer({ cert: readFileSync(process.argv[2]), key: readFileSync(process.argv[3]), allowHTTP1: true },
  (request, answer) => {
    request.resume();
    request.on('end', () => setTimeout(() => {
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ version: request.httpVersion, connections, key: request.headers.authorization }));
    }, 100));
  });
server.on('secureConnection', () => { connections += 1; });
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
