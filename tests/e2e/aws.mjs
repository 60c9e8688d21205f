// Calls S3 with the official npm SDK as standard input says, and prints what came back as one line of JSON.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { S3Client, CopyObjectCommand, DeleteObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListBucketsCommand, ListObjectsV2Command, PutBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';

const { endpoint, token, region, bucket, streaming } = JSON.parse(await new Response(Readable.toWeb(process.stdin)).text());
const client = (key = token, more = {}) => new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1,
  credentials: { accessKeyId: key, secretAccessKey: 'any' }, ...more });
const s3 = client();
// Swift wants the older checksum for DeleteObjects; S3 takes either.
s3.middlewareStack.add((next, context) => (args) => {
  if (context.commandName === 'DeleteObjectsCommand') args.request.headers['content-md5'] = createHash('md5').update(args.request.body).digest('base64');
  return next(args);
}, { step: 'build' });
const out = {};

const put = (Key, Body, more) => s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body, ...more }));
const get = async (Key, more) => (await s3.send(new GetObjectCommand({ Bucket: bucket, Key, ...more }))).Body.transformToByteArray();
const sha = (data) => createHash('sha256').update(data).digest('hex');
const failure = (call) => call.then(() => ({ name: 'none' }), (e) => ({ name: e.name, message: e.message, status: e.$metadata?.httpStatusCode }));

await put('js/one key+ü', 'hello', { ContentType: 'text/plain', Metadata: { from: 'js' } });
out.text = Buffer.from(await get('js/one key+ü')).toString();
out.range = Buffer.from(await get('js/one key+ü', { Range: 'bytes=1-3' })).toString();
const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: 'js/one key+ü' }));
out.head = [head.ContentType, head.Metadata.from, head.ContentLength];
await put('js/bytes', new Uint8Array(300000).fill(7));
out.bytes = (await get('js/bytes')).length;

const big = Buffer.alloc(12 * 1024 * 1024 + 5, 'stream');
function* pieces() { for (let at = 0; at < big.length; at += 100001) yield big.subarray(at, at + 100001); }
await new Upload({ client: s3, params: { Bucket: bucket, Key: 'js/upload', Body: Readable.from(pieces()) }, partSize: 5 * 1024 * 1024, queueSize: 3 }).done();
out.upload = sha(await get('js/upload')) === sha(big);
if (streaming) {
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'js/stream', Body: Readable.from(pieces()), ContentLength: big.length }));
  out.stream = sha(await get('js/stream')) === sha(big);
} else {
  await s3.send(new CopyObjectCommand({ Bucket: bucket, Key: 'js/copy', CopySource: encodeURI(`${bucket}/js/one key+ü`).replaceAll('+', '%2B') }));
  out.copy = Buffer.from(await get('js/copy')).toString();
  out.list = (await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'js/' }))).Contents.map((o) => o.Key);
  out.buckets = (await s3.send(new ListBucketsCommand({}))).Buckets.map((b) => b.Name);
  await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'js/copy' }));
  await s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: [{ Key: 'js/bytes' }, { Key: 'js/upload' }] } }));
  out.left = (await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'js/' }))).Contents.map((o) => o.Key);
  out.absent = await failure(get('js/copy'));
}
out.denied = await failure(s3.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: '{}' })));
out.acl = await failure(put('js/open', 'x', { ACL: 'public-read' }));
out.stranger = await failure(client('seks_aws_' + 'A'.repeat(49)).send(new ListBucketsCommand({})));
out.dots = await failure(put('js/../x', 'x'));
console.log(JSON.stringify(out));
process.exit(0);
