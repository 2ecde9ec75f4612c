"""The embedded WebUI-compatible server: everything can be tried with no GPU and no weights.

It speaks AUTOMATIC1111's `/sdapi/v1`, but its images come from classical image processing. It is **not**
Stable Diffusion, and its start-up line, model name, infotexts and replies say so.

`app.create_app` makes the web application, `background.running_server` runs it in a thread.
"""
