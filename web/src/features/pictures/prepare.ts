/** A file as a picture that can be sent. */

import { newId } from '../../app/api.ts'
import { smaller, type Picture } from '../../core/pictures.ts'

const QUALITY = 0.88

/** Raises DOMException for what is no picture after all. */
export async function prepared(file: File): Promise<Picture> {
  const seen = await createImageBitmap(file)
  const size = smaller(seen.width, seen.height, file.size)
  const data = size === null ? file : await drawn(seen, size)
  seen.close()
  return { id: newId(), name: file.name, mime: data.type, base64: await encoded(data) }
}

async function drawn(seen: ImageBitmap, { width, height }: { width: number; height: number }): Promise<Blob> {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const pen = canvas.getContext('2d')!
  pen.fillStyle = 'white' // where one can look through it: JPEG cannot
  pen.fillRect(0, 0, width, height)
  pen.drawImage(seen, 0, 0, width, height)
  return new Promise((resolve, reject) => {
    canvas.toBlob((made) => (made ? resolve(made) : reject(new DOMException('not drawn'))), 'image/jpeg', QUALITY)
  })
}

function encoded(data: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result).split(',')[1]!)
    reader.onerror = () => reject(reader.error)
    reader.readAsDataURL(data)
  })
}
