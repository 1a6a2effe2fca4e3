from django.db import models


class Channel(models.Model):
    name = models.CharField(max_length=80, unique=True)
    topic = models.CharField(max_length=250, blank=True)

    def __str__(self) -> str:
        return self.name
