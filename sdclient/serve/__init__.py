"""The embedded WebUI-compatible server, to try everything without a GPU and without weights.

It speaks AUTOMATIC1111's `/sdapi/v1`, but its images come from classical image processing or from a small model of the
user's own. It is **not** Stable Diffusion, and its start-up line, model name, infotexts and replies say so.

`app.create_app` builds the web application, `app.running_server` runs it in a thread.
"""
